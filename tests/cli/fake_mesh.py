"""A gateway and a registry with set answers, over real gRPC in this process."""

from __future__ import annotations  # grpc's generic types cannot be subscripted at run time

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import inference_pb2_grpc, registry_pb2, registry_pb2_grpc
from inferloom.v1.worker_pb2_grpc import WorkerServiceServicer, add_WorkerServiceServicer_to_server
from inferloom_mesh.errors import InferloomError
from inferloom_mesh.net import Address
from inferloom_mesh.server import build_server

CHAT = pb.Model(
    id="talker",
    tasks=[pb.TASK_CHAT, pb.TASK_COMPLETION],
    context_length=2048,
    dtype="float32",
    quantization="Q4_1",
)
EMBEDDER = pb.Model(id="embedder", tasks=[pb.TASK_EMBED], context_length=256, dtype="float32")


async def _uncalled(self: object, request: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "No command of the CLI calls this.")


UNCALLED: Any = _uncalled
"""Stands for a method of any kind."""


@dataclass
class FakeGateway(inference_pb2_grpc.InferenceServiceServicer):
    """Streams ``words``, then ends, fails with ``failure``, or hangs."""

    models: list[pb.Model] = field(default_factory=lambda: [EMBEDDER, CHAT])
    words: list[str] = field(default_factory=lambda: ["Par", "is."])
    failure: InferloomError | None = None
    hangs: bool = False
    requests: list[Any] = field(default_factory=list)
    said: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def ListModels(self, request: Any, context: Any) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(models=self.models)

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        self.requests.append(request)
        yield pb.GenerateResponse(started=pb.Started(request_id="r"))
        for word in self.words:
            yield pb.GenerateResponse(delta=pb.Delta(text=word))
        self.said.set()
        if self.failure:
            raise self.failure
        if self.hangs:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        yield pb.GenerateResponse(finished=pb.Finished(reason=pb.FINISH_REASON_STOP))
        yield pb.GenerateResponse(completed=pb.Completed())

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> AsyncIterator[pb.EmbedResponse]:
        self.requests.append(request)
        if self.failure:
            raise self.failure
        vector = b"\x00\x00\x80\x3f\x00\x00\x00\xbf"  # 1.0 and -0.5, little-endian
        yield pb.EmbedResponse(started=pb.EmbedStarted(request_id="r"))
        for index in range(len(request.inputs)):
            yield pb.EmbedResponse(
                part=pb.EmbedPart(first_input=index, embeddings=[pb.Embedding(vector=vector)])
            )
        yield pb.EmbedResponse(completed=pb.EmbedCompleted())

    ContinueGenerate = UNCALLED
    Tokenize = Detokenize = GetTokenizer = Rerank = UNCALLED


@dataclass
class FakeRegistry(registry_pb2_grpc.RegistryServiceServicer):
    """Lists ``workers``, or fails with ``failure``."""

    workers: list[registry_pb2.RegisteredWorker] = field(default_factory=list)
    settling: int = 0
    """How often it answers as one that has only just begun, and knows nobody."""

    frozen: str = ""
    failure: InferloomError | None = None
    gateways: list[registry_pb2.GatewayInstance] = field(default_factory=list)

    async def ListWorkers(self, request: Any, context: Any) -> registry_pb2.ListWorkersResponse:
        if self.failure:
            raise self.failure
        if self.settling:
            self.settling -= 1
            return registry_pb2.ListWorkersResponse(settling=True)
        return registry_pb2.ListWorkersResponse(workers=self.workers, frozen=self.frozen)

    async def ListGateways(self, request: Any, context: Any) -> registry_pb2.ListGatewaysResponse:
        return registry_pb2.ListGatewaysResponse(gateways=self.gateways)

    Register = Deregister = Join = Watch = KeepAlive = AnnounceGateway = UNCALLED


@dataclass(frozen=True)
class FakeMesh:
    """Both services on one address."""

    address: Address
    gateway: FakeGateway
    registry: FakeRegistry


@asynccontextmanager
async def serving(worker: WorkerServiceServicer) -> AsyncIterator[str]:
    """A worker's service inside the block; yields its address."""
    server = build_server(["inferloom.v1.WorkerService"])
    add_WorkerServiceServicer_to_server(worker, server.grpc)
    yield str(await server.listen(Address("127.0.0.1", 0)))
    await server.stop(0)
