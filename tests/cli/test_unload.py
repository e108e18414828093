"""``inferloom unload`` takes a model off the workers that hold it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from inferloom.v1 import registry_pb2, worker_pb2
from inferloom.v1.worker_pb2_grpc import WorkerServiceServicer
from inferloom_cli.refusal import RefusedError
from inferloom_cli.unload import unload
from tests.cli.fake_mesh import CHAT, UNCALLED, FakeMesh, serving


class Unloading(WorkerServiceServicer):
    """Notes what it is to unload."""

    def __init__(self) -> None:
        self.unloaded: list[str] = []

    async def UnloadModel(self, request: worker_pb2.UnloadModelRequest, context: Any) -> Any:
        """Do nothing."""
        self.unloaded.append(request.model)
        return worker_pb2.UnloadModelResponse()

    GetStatus = Drain = LoadModel = LoadAdapter = UnloadAdapter = UNCALLED


@pytest.fixture
async def worker(mesh: FakeMesh) -> AsyncIterator[Unloading]:
    """One worker under two names, as two that hold the model, and one that holds another."""
    worker = Unloading()
    async with serving(worker) as address:
        for name, models in (("a", [CHAT]), ("b", [CHAT]), ("c", [])):
            row = registry_pb2.Worker(id=name, address=address, models=models)
            mesh.registry.workers.append(registry_pb2.RegisteredWorker(worker=row))
        yield worker


async def test_a_model_is_unloaded_everywhere_or_at_one_place(
    mesh: FakeMesh, worker: Unloading, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says where it was."""
    await unload([mesh.address], "talker")
    assert capsys.readouterr().out == "talker is unloaded from a\ntalker is unloaded from b\n"
    await unload([mesh.address], "talker", ["b"])
    assert worker.unloaded == ["talker"] * 3


async def test_who_does_not_hold_it_is_named(mesh: FakeMesh, worker: Unloading) -> None:
    """And who does."""
    with pytest.raises(RefusedError, match=r"^c does not hold talker; on: a, b$"):
        await unload([mesh.address], "talker", ["c"])
    with pytest.raises(RefusedError, match=r"^no worker holds other$"):
        await unload([mesh.address], "other")
    with pytest.raises(RefusedError, match=r"^no worker holds talke; did you mean talker\?$"):
        await unload([mesh.address], "talke")
    assert worker.unloaded == []


async def test_an_odd_address_does_not_stop_the_others(
    mesh: FakeMesh, worker: Unloading, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is a refusal of its own worker, told after what was done."""
    mesh.registry.workers[0].worker.address = "unix:/run/a.sock"
    with pytest.raises(
        RefusedError, match=r"^a: the registry lists no address .*'unix:/run/a\.sock' is not an"
    ):
        await unload([mesh.address], "talker", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"model": "talker", "workers": ["b"]}
