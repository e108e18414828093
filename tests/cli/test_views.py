"""What `ps`, `models` and `embed` print."""

import asyncio
import io
import json
import re
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from rich.console import Console

import inferloom_cli
from inferloom.v1 import registry_pb2 as pb
from inferloom.v1.inference_pb2 import TASK_CHAT, TASK_EMBED, Model
from inferloom.v1.registry_pb2_grpc import add_RegistryServiceServicer_to_server
from inferloom_cli import embed, models, ps
from inferloom_cli.refusal import RefusedError
from inferloom_cli.words import count
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.net import Address
from inferloom_mesh.server import build_server
from tests.cli.fake_mesh import CHAT, EMBEDDER, FakeMesh, FakeRegistry
from tests.patience import PATIENCE_S, until_async

WORKER = pb.RegisteredWorker(
    worker=pb.Worker(
        id="worker-1", address="127.0.0.1:7100", models=[CHAT, EMBEDDER], state=pb.WORKER_STATE_READY
    ),
    lease_state=pb.LEASE_STATE_SUSPECT,
    last_renewal_age=Duration(seconds=1, nanos=250_000_000),
    ttl=Duration(seconds=4),
    load=pb.Load(running=3, waiting=2, free_kv_tokens=750, total_kv_tokens=1000, tokens_per_second=1234),
)
NOWHERE = Address("127.0.0.1", 1)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal on which no cell is folded."""
    monkeypatch.setenv("COLUMNS", "200")


async def test_ps_shows_a_worker_with_its_lease_and_load(
    mesh: FakeMesh, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything that an operator asks for is in one row, and each model on a line."""
    mesh.registry.workers = [WORKER]
    await ps.show([mesh.address], as_json=False)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        ["WORKER", "MODELS", "STATE", "LEASE", "AGE", "TTL", "RUN", "WAIT", "KV", "TOK/S"],
        ["worker-1", "talker", "ready", "suspect", "1.2s", "4.0s", "3", "2", "25%", "1.2k"],
        ["127.0.0.1:7100", "embedder"],
    ]


async def test_ps_fits_a_narrow_terminal(
    mesh: FakeMesh, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is folded in 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    mesh.registry.workers = [WORKER]
    await ps.show([mesh.address], as_json=False)
    assert len(capsys.readouterr().out.splitlines()) == 3


async def test_ps_as_json_has_the_contracts_names(mesh: FakeMesh, capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts read the same fields as from grpcurl, zeros included."""
    mesh.registry.workers = [WORKER]
    await ps.show([mesh.address], as_json=True)
    told = json.loads(capsys.readouterr().out)
    [worker] = told["workers"]
    assert (told["frozen"], told["settling"]) == ("", False)
    assert worker["worker"]["id"] == "worker-1"
    assert worker["lease_state"] == "LEASE_STATE_SUSPECT"
    assert worker["ttl"] == "4s"
    assert worker["epoch"] == "0"


async def test_ps_of_an_empty_mesh_says_what_to_start(
    mesh: FakeMesh, capsys: pytest.CaptureFixture[str]
) -> None:
    """No empty table."""
    await ps.show([mesh.address], as_json=False)
    assert "inferloom worker" in capsys.readouterr().out


@pytest.mark.parametrize("as_json", [True, False])
async def test_ps_tells_of_a_frozen_registry_that_has_no_workers(
    mesh: FakeMesh, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    """Nobody could join it; as JSON, where scripts look."""
    mesh.registry.frozen = "no quorum [of 3]"
    await ps.show([mesh.address], as_json=as_json)
    shown = capsys.readouterr()
    if as_json:
        told = json.loads(shown.out)
        assert (told["workers"], told["frozen"], shown.err) == ([], "no quorum [of 3]", "")
        return
    assert "the registry has lost its store" in shown.err
    assert "no quorum [of 3]" in shown.err
    assert "no workers" in shown.out


async def test_ps_shows_names_and_addresses_as_they_are(
    mesh: FakeMesh, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in brackets is no style, in the table and in the blocks of a narrow terminal."""
    row = pb.RegisteredWorker(
        worker=pb.Worker(id="w:dog:", address="[fd00::7]:7100", models=[Model(id="[/x]")])
    )
    mesh.registry.workers = [row]
    for columns in ("200", "48"):
        monkeypatch.setenv("COLUMNS", columns)
        await ps.show([mesh.address], as_json=False)
        shown = capsys.readouterr().out
        assert all(words in shown for words in ("w:dog:", "[fd00::7]:7100", "[/x]"))


async def test_ps_shows_what_is_being_loaded(mesh: FakeMesh, capsys: pytest.CaptureFixture[str]) -> None:
    """A worker that holds nothing yet is not one that has nothing to do."""
    mesh.registry.workers = [pb.RegisteredWorker(worker=pb.Worker(id="w", address="a:1", loading=["big"]))]
    await ps.show([mesh.address], as_json=False)
    assert "big (loading)" in capsys.readouterr().out


async def test_models_and_texts_are_shown_as_they_are(
    mesh: FakeMesh, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of `models` and `embed`."""
    mesh.gateway.models = [Model(id="[red]x", alias_of="[/y]", tasks=[TASK_EMBED], dtype="float32")]
    await models.show(mesh.address, [mesh.address], as_json=False)
    assert "[red]x [/y]" in " ".join(capsys.readouterr().out.split())
    await embed.embed(mesh.address, None, ["[bold]text :dog:"], dimensions=None, as_json=False)
    assert "[bold]text :dog:" in capsys.readouterr().out


def test_no_command_writes_by_a_console_that_reads_marks() -> None:
    """All take theirs from one place, or another would eat brackets again."""
    folder = Path(inferloom_cli.__file__).parent
    made = {
        file.name for file in folder.rglob("*.py") if re.search(r"\bConsole\(|\(Console\):", file.read_text())
    }
    assert made == {"terminal.py"}


async def test_models_are_shown_with_the_number_of_their_workers(
    mesh: FakeMesh, capsys: pytest.CaptureFixture[str]
) -> None:
    """The gateway knows the models, the registry who holds them."""
    mesh.registry.workers = [WORKER]
    await models.show(mesh.address, [mesh.address], as_json=False)
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert rows[1:] == [
        "embedder embed 256 float32 float32 1",
        "talker chat, completion 2,048 float32 Q4_1 1",
    ]


async def test_adapters_are_shown_with_their_base(mesh: FakeMesh, capsys: pytest.CaptureFixture[str]) -> None:
    """In a column that is there only when it is needed."""
    mesh.gateway.models = [Model(id="support", parent="talker", tasks=[TASK_CHAT], dtype="float32"), CHAT]
    await models.show(mesh.address, [NOWHERE], as_json=False)
    header, adapter, base = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    assert header.startswith("MODEL ADAPTER OF TASKS")
    assert adapter.startswith("support talker chat")
    assert base.startswith("talker chat, completion")


async def test_aliases_are_shown_with_their_model(mesh: FakeMesh, capsys: pytest.CaptureFixture[str]) -> None:
    """In a column of their own."""
    mesh.gateway.models = [Model(id="gpt-4o", alias_of="talker", tasks=[TASK_CHAT], dtype="float32"), CHAT]
    await models.show(mesh.address, [NOWHERE], as_json=False)
    header, alias, base = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    assert header.startswith("MODEL ALIAS OF TASKS")
    assert alias.startswith("gpt-4o talker chat")
    assert base.startswith("talker chat, completion")


async def test_models_are_shown_while_the_registry_is_away(
    mesh: FakeMesh, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the number of workers is unknown, which is said."""
    await models.show(mesh.address, [NOWHERE], as_json=False)
    shown = capsys.readouterr()
    assert shown.out.splitlines()[1].endswith("?")
    assert f"how many workers hold each is not known: no registry at {NOWHERE}" in shown.err


async def test_models_as_json(mesh: FakeMesh, capsys: pytest.CaptureFixture[str]) -> None:
    """The contract's fields."""
    await models.show(mesh.address, [mesh.address], as_json=True)
    assert [model["id"] for model in json.loads(capsys.readouterr().out)] == ["embedder", "talker"]


async def test_embed_prints_whole_vectors_as_json(mesh: FakeMesh, capsys: pytest.CaptureFixture[str]) -> None:
    """One list of numbers for each text, from the first model that can embed."""
    await embed.embed(mesh.address, None, ["a", "b"], dimensions=None, as_json=True)
    assert json.loads(capsys.readouterr().out) == [[1.0, -0.5], [1.0, -0.5]]
    [request] = mesh.gateway.requests
    assert request.model == "embedder"
    assert not request.HasField("dimensions")


async def test_embed_previews_vectors_on_a_terminal(
    mesh: FakeMesh, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text, the length and the first numbers."""
    await embed.embed(mesh.address, "embedder", ["a cat"], dimensions=2, as_json=False)
    assert " ".join(capsys.readouterr().out.splitlines()[1].split()) == "a cat 2 +1.000 -0.500 …"
    assert mesh.gateway.requests[0].dimensions == 2


async def test_a_refused_call_is_its_message(mesh: FakeMesh) -> None:
    """The mesh's own words, and no gRPC around them."""
    mesh.gateway.failure = InferloomError(Reason.MODEL_NOT_FOUND, "There is no model x.")
    with pytest.raises(RefusedError, match=r"^There is no model x\.$"):
        await embed.embed(mesh.address, "embedder", ["a"], dimensions=None, as_json=True)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("embeder", "no model called embeder is served; did you mean embedder? (served: embedder)"),
        ("EMBEDDER:latest", "did you mean embedder?"),
        ("gpt-4o", "no model called gpt-4o is served (served: embedder)"),
        ("talker", "talker is not a model for embed (served: embedder)"),
    ],
)
async def test_a_wrong_model_is_told_with_those_there_are(wanted: str, words: str, mesh: FakeMesh) -> None:
    """And with the one that was meant, where a name is near."""
    with pytest.raises(RefusedError) as refused:
        await embed.embed(mesh.address, wanted, ["a"], dimensions=None, as_json=True)
    assert words in str(refused.value)
    assert mesh.gateway.requests == []


async def test_no_model_for_a_task_is_a_line(mesh: FakeMesh) -> None:
    """Choosing among none says so."""
    mesh.gateway.models = [CHAT]
    with pytest.raises(RefusedError, match="no model for embed is served"):
        await embed.embed(mesh.address, None, ["a"], dimensions=None, as_json=True)


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (812.4, "812"), (8_100, "8.1k"), (2_000_000, "2.0M")])
def test_numbers_are_short(number: float, text: str) -> None:
    """At most four digits, with a unit where they are not enough."""
    assert text == count(number)


async def test_ps_asks_all_registries(mesh: FakeMesh, capsys: pytest.CaptureFixture[str]) -> None:
    """A worker is shown as told by who it renews with, once; a registry that is away hides nothing."""
    elsewhere = pb.RegisteredWorker(worker=WORKER.worker, lease_state=pb.LEASE_STATE_ACTIVE)
    mesh.registry.workers = [elsewhere]
    other = FakeRegistry(workers=[WORKER])
    server = build_server(["inferloom.v1.RegistryService"])
    add_RegistryServiceServicer_to_server(other, server.grpc)
    address = await server.listen(Address("127.0.0.1", 0))
    try:
        await ps.show([NOWHERE, mesh.address, address], as_json=True)
        [row] = json.loads(capsys.readouterr().out)["workers"]
        assert (row["ttl"], row["load"]["running"]) == ("4s", 3)
    finally:
        await server.stop(0)
    await ps.show([mesh.address, NOWHERE], as_json=False)
    assert capsys.readouterr().out.splitlines()[1].split()[3:6] == ["active", "–", "–"]
    with pytest.raises(RefusedError, match="no registry at"):
        await ps.show([NOWHERE, Address("127.0.0.1", 2)], as_json=False)


def test_ps_says_that_a_registry_lost_its_store() -> None:
    """And what of: the workers are shown as they were."""
    for width in (48, 200):
        console = Console(width=width, file=io.StringIO())
        frozen = "etcd cannot be used: [no leader]"
        console.print(ps.table(pb.ListWorkersResponse(workers=[WORKER], frozen=frozen), width=width))
        assert isinstance(console.file, io.StringIO)
        said = " ".join(console.file.getvalue().split())
        assert "worker-1" in said
        assert "has lost its store" in said
        assert "no leader" in said


async def test_watching_outlives_the_registry(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON: a line for each change, none for the passing of time or while nobody answers."""
    worker = pb.RegisteredWorker()
    worker.CopyFrom(WORKER)
    registry = FakeRegistry(workers=[worker])
    server = build_server(["inferloom.v1.RegistryService"])
    add_RegistryServiceServicer_to_server(registry, server.grpc)
    address = await server.listen(Address("127.0.0.1", 0))
    watching = asyncio.create_task(ps.watch([address], as_json=True, interval=0.05))
    lines: list[str] = []

    def printed() -> list[str]:
        lines.extend(capsys.readouterr().out.splitlines())
        return lines

    try:
        await until_async(printed, "a line")
        registry.workers[0].last_renewal_age.seconds += 1
        await asyncio.sleep(0.3)
        await server.stop(0)
        await asyncio.sleep(0.3)
        assert not watching.done()

        server = build_server(["inferloom.v1.RegistryService"])
        add_RegistryServiceServicer_to_server(FakeRegistry(workers=[WORKER, WORKER]), server.grpc)
        await server.listen(address)
        await until_async(printed, "a second line", lambda seen: len(seen) >= 2)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await server.stop(0)
    assert [len(json.loads(line)["workers"]) for line in lines] == [1, 2]


def test_ps_has_a_block_for_each_worker_on_a_very_narrow_terminal() -> None:
    """Words stay whole in 48 columns."""
    console = Console(width=48, file=io.StringIO())
    console.print(ps.table(pb.ListWorkersResponse(workers=[WORKER]), width=48))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for words in ("worker-1 127.0.0.1:7100", "talker", "ready, lease suspect (1.2s of 4.0s)", "1.2k"):
        assert words in text


async def test_models_show_how_they_are_drawn_from(
    mesh: FakeMesh, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a card says so, with its engine."""
    card = Model(id="m", tasks=[TASK_CHAT], dtype="float32", engine="kernels")
    card.sampling_defaults.temperature = 0.6
    card.sampling_defaults.top_k = 20
    mesh.gateway.models = [card]
    await models.show(mesh.address, [NOWHERE], as_json=False)
    header, row = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    assert header == "MODEL TASKS CONTEXT DTYPE WEIGHTS ENGINE SAMPLING WORKERS"
    assert row == "m chat 0 float32 float32 kernels t=0.6 k=20 ?"


async def test_what_ps_says_below_its_table_is_one_line_in_a_pipe(
    mesh: FakeMesh, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However narrow the table is: it is searched for."""
    monkeypatch.delenv("COLUMNS")
    mesh.registry.workers = [WORKER]
    mesh.registry.frozen = "no quorum " * 20 + "at all"
    await ps.show([mesh.address], as_json=False)
    (line,) = [each for each in capsys.readouterr().out.splitlines() if "lost its store" in each]
    assert line.endswith("at all")


async def test_workers_that_compute_differently_are_marked(
    mesh: FakeMesh, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two workers that have one name for two models are seen in both tables."""
    rows = []
    for name, compute_hash in (("worker-1", "a"), ("worker-2", "b")):
        row = pb.RegisteredWorker()
        row.CopyFrom(WORKER)
        row.worker.id = name
        row.worker.models[0].compute_hash = compute_hash
        rows.append(row)
    mesh.registry.workers = rows
    await ps.show([mesh.address], as_json=False)
    shown = capsys.readouterr().out
    assert (shown.count("talker !"), shown.count("embedder !")) == (2, 0)
    assert "computes differently" in shown
    await models.show(mesh.address, [mesh.address], as_json=False)
    assert "2, 2 kinds!" in capsys.readouterr().out


async def test_watching_shows_first_what_must_be_seen(
    mesh: FakeMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal that is too low for all workers cuts their end off: that nothing is new stands above."""

    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name, value in (("COLUMNS", "100"), ("LINES", "8"), ("TERM", "xterm"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", screen := Screen())
    mesh.registry.workers = [
        pb.RegisteredWorker(worker=pb.Worker(id=f"w{number}", address="a:1")) for number in range(40)
    ]
    watching = asyncio.create_task(ps.watch([mesh.address], as_json=False, interval=0.05))
    try:
        await until_async(lambda: "w1" in screen.getvalue(), "the workers")
        mesh.registry.frozen = "no leader"
        await until_async(lambda: "has lost its store" in screen.getvalue(), "the store's loss")
        mesh.registry.failure = InferloomError(Reason.SERVER_OVERLOADED, "It stops.")
        await until_async(lambda: "this is what was last said" in screen.getvalue(), "that it is away")
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_watching_without_a_terminal_shows_the_workers_once(
    mesh: FakeMesh, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe would get nothing until the end."""
    mesh.registry.workers = [WORKER]
    async with asyncio.timeout(PATIENCE_S):
        await ps.watch([mesh.address], as_json=False)
    assert "worker-1" in capsys.readouterr().out


async def test_what_goes_into_a_pipe_is_not_cut(
    mesh: FakeMesh, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ps | grep NAME` finds the worker, and the model beside it."""
    monkeypatch.delenv("COLUMNS")
    name, model = "worker-of-a-long-name-in-the-cellar", "org/a-model-of-a-name-that-is-rather-long-Q4_K_M"
    row = pb.RegisteredWorker(worker=pb.Worker(id=name, address="a:1", models=[Model(id=model)]))
    mesh.registry.workers = [row]
    await ps.show([mesh.address], as_json=False)
    assert any(name in line and model in line for line in capsys.readouterr().out.splitlines())


async def test_states_of_a_newer_version_have_their_numbers(
    mesh: FakeMesh, capsys: pytest.CaptureFixture[str]
) -> None:
    """While a mesh is upgraded, commands of the version before show all of it."""
    worker = pb.Worker(id="w", address="a:1", state=77)  # type: ignore[arg-type] # of a later version
    mesh.registry.workers = [pb.RegisteredWorker(worker=worker)]
    await ps.show([mesh.address], as_json=False)
    assert "worker_state_77" in capsys.readouterr().out
