"""The worker's settings, and where it listens."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from inferloom_mesh.net import Address
from inferloom_mesh.server import build_server
from inferloom_worker.joining.addresses import advertised, advertised_link, listen
from inferloom_worker.settings import WorkerSettings, default_worker_id


@pytest.fixture(autouse=True)
def _no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_nothing_set_serves_the_demo_models() -> None:
    """From the registry's usual place, on the first free port."""
    settings = WorkerSettings()

    assert [name for name, _ in settings.models] == ["smollm2-135m-instruct", "all-minilm-l6-v2"]
    assert settings.registry == (Address("127.0.0.1", 7000),)
    assert settings.worker_listen is None


def test_models_come_from_the_environment_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commas between the echo engine's options part nothing."""
    monkeypatch.setenv("INFERLOOM_MODELS", "a=x/y, e=echo:delay_ms=1,tokens=2 ,/m/z.gguf")

    assert WorkerSettings().models == (
        ("a", "x/y"),
        ("e", "echo:delay_ms=1,tokens=2"),
        ("z", "/m/z.gguf"),
    )


def test_adapters_come_with_their_bases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name, base and what to load, which may hold further signs of equality."""
    monkeypatch.setenv("INFERLOOM_MODELS", "a=x/y")
    monkeypatch.setenv("INFERLOOM_ADAPTERS", "one=a=./one, two=a=/m/r=8")

    assert WorkerSettings().adapters == (("one", "a", "./one"), ("two", "a", "/m/r=8"))


def test_a_worker_can_do_without_a_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """``none`` says so."""
    monkeypatch.setenv("INFERLOOM_REGISTRY", "none")

    assert WorkerSettings().registry is None


@pytest.mark.parametrize(
    "name", ["INFERLOOM_EMBEDDING_BATCH_SIZE", "FASTCHAT_WORKER_API_EMBEDDING_BATCH_SIZE"]
)
def test_the_batch_size_has_fastchats_name_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For who comes from there."""
    monkeypatch.setenv(name, "5")

    assert WorkerSettings().load_options().embed.batch_size == 5


def test_engine_settings_reach_the_engine() -> None:
    """Memory in MiB becomes bytes."""
    options = WorkerSettings(
        kv_cache_mib=2, max_running=3, dtype="float32", max_adapter_rank=8
    ).load_options()

    assert (options.engine.kv_cache_bytes, options.engine.max_running) == (2 * 2**20, 3)
    assert (options.engine.dtype, options.engine.max_adapter_rank) == ("float32", 8)


@pytest.mark.parametrize(("text", "value"), [("auto", "auto"), ("off", "off"), ("8", 8)])
def test_speculation_is_a_word_or_a_number(text: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """As text in the environment, too."""
    monkeypatch.setenv("INFERLOOM_SPECULATION", text)

    assert WorkerSettings().load_options().engine.speculation == value


@pytest.mark.parametrize(
    "fields",
    [
        {"speculation": "on"},
        {"speculation": 0},
        {"worker_id": "Über"},
        {"worker_id": "x" * 64},
        {"models": ["=x"]},
        {"adapters": ["one=./one"]},
        {"adapters": ["one=no-model=./one"]},
        {"adapters": ["one=all-minilm-l6-v2=./a", "one=all-minilm-l6-v2=./b"]},
        {"adapters": ["all-minilm-l6-v2=all-minilm-l6-v2=./a"]},
        {"max_adapter_rank": 0},
        {"max_running": 0},
        {"drain_limit_s": -1},
        {"dtype": "int3"},
        {"device": "tpu"},
    ],
)
def test_a_value_out_of_range_is_refused(fields: dict[str, object]) -> None:
    """Before anything starts."""
    with pytest.raises(ValidationError):
        WorkerSettings(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("Box.local", "box.local-7100"),
        ("ünï_code", "n-code-7100"),
        ("...", "worker-7100"),
        ("x" * 80, "x" * 50 + "-7100"),
    ],
)
def test_a_made_up_name_is_a_valid_one(host: str, expected: str) -> None:
    """Whatever the host is called."""
    assert expected == default_worker_id(7100, host)
    assert WorkerSettings(worker_id=expected).worker_id == expected


@pytest.mark.parametrize(
    ("bound", "given", "registry", "expected"),
    [
        ("127.0.0.1:7100", None, None, "127.0.0.1:7100"),
        ("127.0.0.1:7100", "10.0.0.5", None, "10.0.0.5:7100"),
        ("127.0.0.1:7100", "gpu-1:80", None, "gpu-1:80"),
        ("0.0.0.0:7100", None, "127.0.0.1:7000", "127.0.0.1:7100"),
        ("0.0.0.0:7100", None, None, f"{socket.gethostname()}:7100"),
    ],
)
def test_a_worker_says_an_address_that_others_can_reach(
    bound: str, given: str | None, registry: str | None, expected: str
) -> None:
    """Not the wildcard it listens on."""
    peer = Address.parse(registry) if registry else None

    assert Address.parse(expected) == advertised(Address.parse(bound), given, peer)


@pytest.mark.parametrize(
    ("bound", "given", "shown", "expected"),
    [
        ("127.0.0.1:40000", None, "127.0.0.1:7100", "127.0.0.1:40000"),
        ("0.0.0.0:7200", None, "10.0.0.5:7100", "10.0.0.5:7200"),
        ("0.0.0.0:7200", None, "gpu-1:80", None),
        ("0.0.0.0:7200", "gpu-1:81", "gpu-1:80", "gpu-1:81"),
        ("0.0.0.0:7200", "gpu-1", "gpu-1:80", "gpu-1:7200"),
        (None, "gpu-1:81", "10.0.0.5:7100", None),
    ],
)
def test_a_worker_tells_of_the_links_port_where_others_can_reach_it(
    bound: str | None, given: str | None, shown: str, expected: str | None
) -> None:
    """At the host that it registers; behind something that shows another port only if it is told where."""
    listening = None if bound is None else Address.parse(bound)
    found = advertised_link(listening, given, Address("0.0.0.0", 7100), Address.parse(shown))
    assert found == (None if expected is None else Address.parse(expected))


def test_the_links_port_may_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or any that is free, if nothing is said."""
    assert WorkerSettings().worker_link_port == 0
    monkeypatch.setenv("INFERLOOM_WORKER_LINK_PORT", "7200")
    assert WorkerSettings().worker_link_port == 7200
    monkeypatch.setenv("INFERLOOM_WORKER_LINK_PORT", "none")
    assert WorkerSettings().worker_link_port is None
    for wrong in ("65536", "-1", "some"):
        with pytest.raises(ValidationError):
            WorkerSettings(worker_link_port=wrong)


@pytest.fixture
def taken() -> Iterator[Address]:
    """An address that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Address("127.0.0.1", server.getsockname()[1])


async def test_the_next_port_is_taken_unless_one_was_asked_for(taken: Address) -> None:
    """A second worker on the machine finds its own port; an explicit one must be free."""
    server = build_server([])
    with pytest.raises(OSError, match="another process"):
        await listen(server, taken, taken)
    address = await listen(server, None, taken)
    await server.stop(0)

    assert taken.port < address.port < taken.port + 100


def test_a_step_must_have_a_token_for_each_sequence() -> None:
    """More running sequences than a step has tokens would starve some, and promise what is not there."""
    with pytest.raises(ValidationError, match="would never have a token in a step"):
        WorkerSettings(max_running=65, max_step_tokens=64)
    assert WorkerSettings(max_running=64, max_step_tokens=64).max_running == 64
