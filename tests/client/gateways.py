"""Gateways, workers and registries for tests of the client: they go away, hang, and keep streams."""

from __future__ import annotations  # grpc's generic types cannot be subscripted at run time

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom.v1.inference_pb2_grpc import add_InferenceServiceServicer_to_server
from inferloom.v1.registry_pb2_grpc import add_RegistryServiceServicer_to_server
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.net import Address
from inferloom_mesh.security import OPEN, Security
from inferloom_mesh.server import Server, build_server
from tests.cli.fake_mesh import FakeGateway, FakeRegistry

ANYWHERE = Address("127.0.0.1", 0)


class Keeper(FakeGateway):
    """Keeps streams, and breaks the calls that it is told to."""

    def __init__(self, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE, silent: int = 0) -> None:
        super().__init__()
        self.code = code
        """What calls break with, behind their second event."""
        self.silent = silent
        """Calls that break before they are answered at all."""
        self.begun: list[str] = []
        self.asked = 0

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        assert "x-inferloom-resumable" in dict(context.invocation_metadata())
        if request.request_id in self.begun:
            raise InferloomError(Reason.ALREADY_EXISTS, "There is one.")
        self.begun.append(request.request_id)
        async for event in self._from(0, context):
            yield event

    async def ContinueGenerate(
        self, request: pb.ContinueGenerateRequest, context: Any
    ) -> AsyncIterator[pb.GenerateResponse]:
        if request.stream not in self.begun:
            raise InferloomError(Reason.NOT_FOUND, "There is none.")
        async for event in self._from(request.after + 1 if request.HasField("after") else 0, context):
            yield event

    async def _from(self, first: int, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        self.asked += 1
        if self.asked <= self.silent:
            await context.abort(self.code, "broken")
        await context.send_initial_metadata([("x-inferloom-stream", self.begun[-1])])
        events = [
            pb.GenerateResponse(started=pb.Started(request_id="r")),
            *(pb.GenerateResponse(delta=pb.Delta(text=word)) for word in ("a ", "b ", "c ", "d")),
            pb.GenerateResponse(finished=pb.Finished(reason=pb.FINISH_REASON_STOP)),
            pb.GenerateResponse(completed=pb.Completed()),
        ]
        for count, (sequence, event) in enumerate(list(enumerate(events))[first:]):
            if count == 2:
                await context.abort(self.code, "broken")
            event.sequence = sequence
            yield event


class Busy(FakeGateway):
    """Answers once so many are asked together, itself and others, or hangs."""

    def __init__(self, together: asyncio.Event) -> None:
        super().__init__()
        self.together = together

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        self.requests.append(request)
        await self.together.wait()
        yield pb.GenerateResponse(delta=pb.Delta(text="a"))
        yield pb.GenerateResponse(completed=pb.Completed())


@asynccontextmanager
async def served(
    service: Any, at: Address = ANYWHERE, security: Security = OPEN, *, shared: bool = False
) -> AsyncIterator[tuple[str, Server]]:
    """A gateway, worker or registry inside the block; its address, and what serves it. ``shared``: the
    address is reserved."""
    server = build_server(
        ["inferloom.v1.InferenceService"], shared=shared, guard=security.guard, tls=security.inside()
    )
    if isinstance(service, FakeRegistry):
        add_RegistryServiceServicer_to_server(service, server.grpc)
    else:
        add_InferenceServiceServicer_to_server(service, server.grpc)
    address = await server.listen(at)
    try:
        yield str(address), server
    finally:
        await server.stop(0)


def listed(address: str, model: str = "talker") -> registry_pb2.RegisteredWorker:
    """How a registry tells of a worker."""
    worker = registry_pb2.Worker(
        id=address,
        address=address,
        state=registry_pb2.WORKER_STATE_READY,
        models=[pb.Model(id=model)],
        capacity=4,
    )
    return registry_pb2.RegisteredWorker(lease_state=registry_pb2.LEASE_STATE_ACTIVE, worker=worker)


@contextmanager
def silent() -> Iterator[str]:
    """An address that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
