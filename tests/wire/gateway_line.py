"""A gateway's real line to a worker, which may go by the link's own port."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import worker_pb2
from inferloom.v1.worker_pb2_grpc import WorkerServiceStub
from inferloom_gateway.calls.attach.dialer import Dialer
from inferloom_gateway.calls.attach_link import AttachLink
from inferloom_gateway.calls.grpc_link import GrpcLink
from inferloom_gateway.calls.link import CallFailedError
from inferloom_mesh.channel import open_channel
from inferloom_mesh.context import CallContext
from inferloom_mesh.roles import Role
from inferloom_mesh.security import OPEN, Security
from tests.gateway.test_link_frames import Seen
from tests.patience import PATIENCE_S, until_async
from tests.wire.certificates import Certificates
from tests.wire.running_worker import RunningWorker

ENDLESS = "slow=echo:delay_ms=60000"


class Asked(Seen):
    """What became of a generation."""

    def text(self) -> str:
        """All of it."""
        return "".join(event[3] if isinstance(event, tuple) else event.delta.text for event in self.events)

    async def over(self) -> CallFailedError | None:
        """Wait for its end."""
        async with asyncio.timeout(PATIENCE_S):
            await self.ended.wait()
        return self.ends[0]


class Line:
    """A gateway's line to a worker, and where it believes the link's port to be."""

    def __init__(self, worker: RunningWorker, where: str, security: Security) -> None:
        self.where = where
        self.calls = GrpcLink(str(worker.address), security=security)
        self.link = AttachLink(
            str(worker.address), self.calls, dialer=Dialer(security), link_address=lambda: self.where
        )

    def ask(self, request: pb.GenerateRequest) -> Asked:
        """Start a generation."""
        asked = Asked()
        self.link.generate(request, CallContext("r"), asked)
        return asked

    async def by(self, transport: str) -> None:
        """Wait until calls go by a transport."""
        await until_async(lambda: self.link.transport, "the transport", lambda now: now == transport)


@asynccontextmanager
async def line_to(worker: RunningWorker, where: str, security: Security = OPEN) -> AsyncIterator[Line]:
    """A line until the block ends."""
    line = Line(worker, where, security)
    try:
        yield line
    finally:
        await line.link.close(None)


async def port_of(worker: RunningWorker) -> str:
    """Where a worker says that its link's port is."""
    return (await worker.status()).worker.link_address


async def by_operator(worker: RunningWorker, certificates: Certificates) -> str:
    """Where a worker with certificates says that its port is."""
    security = certificates.security("operator")
    async with open_channel(worker.address, security=security, of=Role.WORKER) as channel:
        stub: Any = WorkerServiceStub(channel)
        return str((await stub.GetStatus(worker_pb2.GetStatusRequest())).worker.link_address)


def unused() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
