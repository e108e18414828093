"""``inferloom drain`` lets a worker finish."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from inferloom.v1 import registry_pb2, worker_pb2
from inferloom.v1.worker_pb2_grpc import WorkerServiceServicer
from inferloom_cli.drain import drain
from inferloom_cli.refusal import RefusedError
from tests.cli.fake_mesh import UNCALLED, FakeMesh, serving
from tests.patience import until_async


class Draining(WorkerServiceServicer):
    """Notes how it is to drain."""

    def __init__(self) -> None:
        self.asked: list[worker_pb2.DrainRequest] = []
        self.ended = 0
        self.finishes = asyncio.Event()
        self.finishes.set()

    async def Drain(self, request: worker_pb2.DrainRequest, context: Any) -> Any:
        """Be finished."""
        self.asked.append(request)
        await self.finishes.wait()
        return worker_pb2.DrainResponse(ended_requests=self.ended)

    GetStatus = UnloadModel = LoadModel = LoadAdapter = UnloadAdapter = UNCALLED


@pytest.fixture
async def worker(mesh: FakeMesh) -> AsyncIterator[Draining]:
    """A worker called a."""
    worker = Draining()
    async with serving(worker) as address:
        row = registry_pb2.Worker(id="a", address=address)
        mesh.registry.workers.append(registry_pb2.RegisteredWorker(worker=row))
        yield worker


async def test_a_worker_is_drained(
    mesh: FakeMesh, worker: Draining, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its own limit, or by one that is given; what was ended is told."""
    await drain([mesh.address], "a", None)
    worker.ended = 2
    await drain([mesh.address], "a", 1.5)
    own, given = worker.asked
    assert not own.HasField("limit")
    assert (given.limit.seconds, given.limit.nanos) == (1, 500_000_000)
    assert capsys.readouterr().out == "a is drained\na is drained; 2 requests were ended at the limit\n"


async def test_who_is_there_is_named_where_the_worker_is_not(mesh: FakeMesh, worker: Draining) -> None:
    """Nothing is drained by mistake."""
    with pytest.raises(RefusedError, match=r"^no worker is called b \(there are: a\)$"):
        await drain([mesh.address], "b", None)
    assert worker.asked == []


async def test_an_odd_address_is_named(mesh: FakeMesh, worker: Draining) -> None:
    """In a sentence."""
    mesh.registry.workers[0].worker.address = "nowhere"
    with pytest.raises(RefusedError, match="'nowhere' is not an address"):
        await drain([mesh.address], "a", None)


async def test_whoever_does_not_wait_is_told_that_it_goes_on(
    mesh: FakeMesh, worker: Draining, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends the command, and not the draining."""
    worker.finishes.clear()
    draining = asyncio.ensure_future(drain([mesh.address], "a", None))
    await until_async(lambda: worker.asked, "the request")
    draining.cancel()
    await asyncio.gather(draining, return_exceptions=True)
    assert "a goes on draining, and takes no requests until it is restarted" in capsys.readouterr().err
