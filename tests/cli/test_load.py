"""``inferloom load`` loads a model onto workers that run."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from inferloom.v1 import inference_pb2, registry_pb2, worker_pb2
from inferloom.v1.worker_pb2_grpc import WorkerServiceServicer
from inferloom_cli.load import Wanted, load
from inferloom_cli.refusal import RefusedError
from inferloom_mesh.errors import InferloomError, Reason
from tests.cli.fake_mesh import CHAT, UNCALLED, FakeMesh, serving

READY, DRAINING = registry_pb2.WORKER_STATE_READY, registry_pb2.WORKER_STATE_DRAINING


class Loading(WorkerServiceServicer):
    """Notes what it is to load, and fails once for each of ``failures``."""

    def __init__(self) -> None:
        self.loaded: list[Any] = []
        self.failures: list[str] = []
        self.card = inference_pb2.Model()

    async def LoadModel(self, request: worker_pb2.LoadModelRequest, context: Any) -> Any:
        """Load, or fail."""
        if self.failures:
            raise InferloomError(Reason.INVALID_ARGUMENT, self.failures.pop(), param="spec")
        self.loaded.append(request)
        return worker_pb2.LoadModelResponse(model=self.card)

    async def LoadAdapter(self, request: worker_pb2.LoadAdapterRequest, context: Any) -> Any:
        """Load."""
        self.loaded.append(request)
        return worker_pb2.LoadAdapterResponse()

    GetStatus = Drain = UnloadModel = UnloadAdapter = UNCALLED


@pytest.fixture
async def worker(mesh: FakeMesh) -> AsyncIterator[Loading]:
    """One worker under four names: one holds the model, two do not, one is draining."""
    worker = Loading()
    async with serving(worker) as address:
        for name, models, state in (
            ("a", [CHAT], READY),
            ("b", [], READY),
            ("c", [], READY),
            ("d", [], DRAINING),
        ):
            row = registry_pb2.Worker(id=name, address=address, models=models, state=state)
            mesh.registry.workers.append(registry_pb2.RegisteredWorker(worker=row))
        yield worker


async def test_a_model_is_loaded_everywhere_or_at_some_places(
    mesh: FakeMesh, worker: Loading, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it is already, and where a worker is about to leave, nothing is done."""
    await load([mesh.address], Wanted.read("talker=echo"), (), as_json=False)
    assert capsys.readouterr().out == ("a has talker already\ntalker is loaded on b\ntalker is loaded on c\n")
    await load([mesh.address], Wanted.read("new=/x=y.gguf"), ["c"], as_json=True)
    assert json.loads(capsys.readouterr().out) == [
        {"worker": "c", "loaded": True, "error": None, "answers": True}
    ]
    assert [(each.model, each.spec) for each in worker.loaded] == [
        ("talker", "echo"),
        ("talker", "echo"),
        ("new", "/x=y.gguf"),
    ]


async def test_an_adapter_goes_where_its_base_is(mesh: FakeMesh, worker: Loading) -> None:
    """And nowhere else."""
    await load([mesh.address], Wanted.read("support=hub/lora", "talker"), (), as_json=False)
    [request] = worker.loaded
    assert (request.model, request.adapter, request.spec) == ("talker", "support", "hub/lora")
    with pytest.raises(RefusedError, match="b does not hold talker; on: a"):
        await load([mesh.address], Wanted.read("support=hub/lora", "talker"), ["b"], as_json=False)


async def test_what_one_worker_refuses_is_told_with_what_the_others_did(
    mesh: FakeMesh, worker: Loading, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the worker's own words, and the command fails."""
    worker.failures.append("nope.gguf does not exist.")
    with pytest.raises(RefusedError, match=r"^[bc]: nope\.gguf does not exist\.$"):
        await load([mesh.address], Wanted.read("new=nope.gguf"), ["b", "c"], as_json=False)
    assert capsys.readouterr().out in ("new is loaded on b\n", "new is loaded on c\n")


async def test_a_worker_that_is_not_there_is_named(mesh: FakeMesh, worker: Loading) -> None:
    """With those that are."""
    with pytest.raises(RefusedError, match=r"^no worker is called e \(there are: a, b, c, d\)$"):
        await load([mesh.address], Wanted.read("new=echo"), ["e"], as_json=False)
    assert worker.loaded == []


async def test_a_server_that_is_away_is_told_of(
    mesh: FakeMesh, worker: Loading, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its model is there and cannot be asked: a mistyped address, say."""
    worker.card.engine = "sidecar"
    await load([mesh.address], Wanted.read("new=http://h/v1"), ["c"], as_json=False)
    assert capsys.readouterr().out.startswith("new is on c, and its server cannot be used yet")


@pytest.mark.parametrize("typed", ["name=", "", " "])
def test_a_model_needs_a_spec(typed: str) -> None:
    """It is asked for; an adapter needs its name too."""
    with pytest.raises(RefusedError, match="NAME=SPEC"):
        Wanted.read(typed)
    for each in (typed, "./support-lora", "=echo"):
        with pytest.raises(RefusedError, match="NAME=SPEC"):
            Wanted.read(each, "talker")


def test_a_models_name_may_be_left_out() -> None:
    """It is the spec's then, as where a worker is started with it."""
    read = [Wanted.read(typed) for typed in ("echo", "echo:chunk=1", "/models/a.gguf", "org/tiny")]
    assert [(each.name, each.spec) for each in read] == [
        ("echo", "echo"),
        ("echo", "echo:chunk=1"),
        ("a", "/models/a.gguf"),
        ("org/tiny", "org/tiny"),
    ]


def test_a_relative_path_counts_from_where_the_command_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Because the worker may have been started elsewhere."""
    monkeypatch.chdir(tmp_path)
    assert Wanted.read("a=./tiny.gguf").spec == str(tmp_path.resolve() / "tiny.gguf")
    assert Wanted.read("a=vllm:./tiny?dtype=float32").spec == f"vllm:{tmp_path.resolve()}/tiny?dtype=float32"
    assert Wanted.read("a=./lora", "talker").spec == str(tmp_path.resolve() / "lora")
    assert Wanted.read("a=org/tiny").spec == "org/tiny"
    assert Wanted.read("a=torch:./tiny").spec == f"torch:{tmp_path.resolve() / 'tiny'}"
    (tmp_path / "my models ü" / "tiny").mkdir(parents=True)
    for engine, options in (("", ""), ("torch:", ""), ("vllm:", "?tensor_parallel_size=2")):
        typed = f"a={engine}my models ü/tiny{options}"
        assert Wanted.read(typed).spec == f"{engine}{tmp_path.resolve()}/my models ü/tiny{options}"
    for name in ("echo", "smollm2-135m-instruct"):
        (tmp_path / name).mkdir()
        assert Wanted.read(f"a={name}").spec == name, "a name is no path"


async def test_an_odd_address_is_the_outcome_of_its_own_worker(
    mesh: FakeMesh, worker: Loading, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others' are printed."""
    mesh.registry.workers[1].worker.address = "b:99999"
    with pytest.raises(
        RefusedError, match=r"^b: the registry lists no address .*'b:99999' is not an address"
    ):
        await load([mesh.address], Wanted.read("new=echo"), ["b", "c"], as_json=False)
    assert capsys.readouterr().out == "new is loaded on c\n"
