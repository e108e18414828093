"""Settings as the command line reads them."""

import os
import re
from pathlib import Path

import pytest

from inferloom_cli.client_settings import ClientSettings
from inferloom_cli.known_settings import OTHER_VARIABLES, PREFIX, known_names
from inferloom_cli.refusal import MISUSED, RefusedError
from inferloom_cli.settings import load
from inferloom_mesh.net import Address
from inferloom_worker.settings import WorkerSettings


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working folder with no settings file, and an environment with no settings."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("INFERLOOM_")]:
        monkeypatch.delenv(name)
    return tmp_path


def test_flags_win_over_the_environment_and_the_environment_over_the_file(
    monkeypatch: pytest.MonkeyPatch, bare: Path
) -> None:
    """Each source is used where those before it are silent."""
    (bare / "inferloom.toml").write_text('gateway = "file:1"\nregistry = "file:2"\nlog_level = "error"\n')
    monkeypatch.setenv("INFERLOOM_GATEWAY", "environment:3")
    monkeypatch.setenv("INFERLOOM_REGISTRY", "environment:4")
    settings = load(ClientSettings, gateway="flag:5", registry=None)
    assert settings.gateway == Address("flag", 5)
    assert settings.registry == (Address("environment", 4),)
    assert settings.log_level == "error"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"gateway": "no where"}, ["--gateway", "'no where'", "host:port"]),
        ({"gateway": "https://a"}, ["--gateway", "'https://a'", "INFERLOOM_TLS"]),
        ({"log_level": "loud"}, ["--log-level", "'debug'"]),
        ({"gateway": "a:1", "registry": "b:99999"}, ["--registry", "'b:99999'"]),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_setting(flags: dict[str, str], words: list[str]) -> None:
    """The line says which setting and why, and the status is that of misuse."""
    with pytest.raises(RefusedError) as refused:
        load(ClientSettings, **flags)
    assert refused.value.status == MISUSED
    assert "\n" not in str(refused.value)
    assert all(word in str(refused.value) for word in words)


def test_a_settings_file_that_is_no_toml_is_one_line(bare: Path) -> None:
    """The place of the fault is kept."""
    (bare / "inferloom.toml").write_text("gateway = \n")
    with pytest.raises(RefusedError, match="line 1"):
        load(ClientSettings)


def test_a_settings_file_that_was_named_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistyped path is not taken for no settings."""
    monkeypatch.setenv("INFERLOOM_CONFIG", "mistyped.toml")
    with pytest.raises(RefusedError, match=r"mistyped\.toml"):
        load(ClientSettings)


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("localhost", Address("localhost", 9000)),
        ("10.0.0.5", Address("10.0.0.5", 9000)),
        ("[::1]", Address("[::1]", 9000)),
        ("http://box:9260", Address("box", 9260)),
        ("http://box/v1", Address("box", 9000)),
    ],
)
def test_an_address_is_read_as_people_type_it(typed: str, address: Address) -> None:
    """The usual port is added, and a scheme is dropped."""
    assert address == load(ClientSettings, gateway=typed).gateway


def test_clients_call_where_the_services_of_the_same_file_listen(bare: Path) -> None:
    """So one file drives `up` and everything that asks it."""
    (bare / "inferloom.toml").write_text(
        'gateway_grpc_listen = "0.0.0.0:9260"\nregistry_listen = "127.0.0.1:7260"\n'
    )
    settings = load(ClientSettings)
    assert settings.gateway == Address("127.0.0.1", 9260)
    assert settings.registry == (Address("127.0.0.1", 7260),)
    (bare / "inferloom.toml").write_text('gateway_grpc_listen = "0.0.0.0:9260"\ngateway = "box:1"\n')
    assert load(ClientSettings).gateway == Address("box", 1)


def test_where_services_listen_names_no_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """So an operator's certificate opens where gateways ask each other, also where a file or an image says
    where the public door is."""
    monkeypatch.setenv("INFERLOOM_GATEWAY_GRPC_LISTEN", "0.0.0.0:9000")
    assert "gateway" not in load(ClientSettings).model_fields_set
    assert "gateway" in load(ClientSettings, gateway="box:1").model_fields_set


def test_a_name_that_no_service_knows_is_refused(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the file and in the environment, with the name that was meant; another service's name is fine."""
    (bare / "inferloom.toml").write_text('max_runing = 3\nlease_ttl_s = 9\ngateway_lisen = "0.0.0.0:1"\n')
    monkeypatch.setenv("INFERLOOM_MAXRUNNING", "3")
    with pytest.raises(RefusedError) as refused:
        load(ClientSettings)
    assert refused.value.status == MISUSED
    assert str(refused.value).split("; ") == [
        "inferloom.toml: max_runing is no setting",
        "did you mean max_running?",
        "inferloom.toml: gateway_lisen is no setting",
        "did you mean gateway_listen?",
        "INFERLOOM_MAXRUNNING is no setting",
        "did you mean INFERLOOM_MAX_RUNNING?",
    ]


def test_variables_of_an_orchestrator_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes sets these for a service that is called inferloom, or inferloom-gateway."""
    for name, value in {
        "INFERLOOM_SERVICE_HOST": "10.0.0.1",
        "INFERLOOM_PORT": "tcp://10.0.0.1:8000",
        "INFERLOOM_GATEWAY_PORT_9000_TCP": "tcp://10.0.0.1:9000",
        "INFERLOOM_GATEWAY_SERVICE_PORT_GRPC": "9000",
    }.items():
        monkeypatch.setenv(name, value)
    load(ClientSettings)


def test_every_variable_that_the_code_reads_is_known() -> None:
    """A new one is either a setting of a service or is listed beside them."""
    root = Path(__file__).parents[2]
    read = {
        name
        for folder in ("mesh", "registry", "worker", "gateway", "tools/inferloom_cli")
        for file in (root / folder).rglob("*.py")
        for name in re.findall(r'"(INFERLOOM_[A-Z_]+)"', file.read_text())
    }
    assert len(read) > 10
    settings = {PREFIX + name.upper() for name in known_names()}
    assert read - {PREFIX} <= settings | OTHER_VARIABLES


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("registry = 127", "registry: 127 is not an address of the form host:port"),
        ("max_running = 'many'", "max_running must be a whole number, not 'many'"),
        ("max_running = 0", "max_running must be at least 1, not '0'"),
        ("drain_limit_s = 'long'", "drain_limit_s must be a number, not 'long'"),
        ("speculation = 'on'", "speculation must be 'auto' or 'off' or a whole number, not 'on'"),
        ("log_level = 'loud'", "log_level must be 'debug', 'info', 'warning' or 'error', not 'loud'"),
    ],
)
def test_a_wrong_value_names_its_source(
    line: str, sentence: str, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file with its key, or the variable."""
    (bare / "inferloom.toml").write_text(line + "\n")
    with pytest.raises(RefusedError) as refused:
        load(WorkerSettings)
    assert f"inferloom.toml: {sentence}" == str(refused.value)

    (bare / "inferloom.toml").unlink()
    name, _, value = line.partition(" = ")
    monkeypatch.setenv(f"INFERLOOM_{name.upper()}", value.strip("'"))
    with pytest.raises(RefusedError, match=rf"^INFERLOOM_{name.upper()}[: ]"):
        load(WorkerSettings)


def test_more_sequences_than_a_step_has_tokens_are_refused() -> None:
    """The worker would promise slots that it cannot fill."""
    with pytest.raises(RefusedError, match=r"max_running \(64\) is more than max_step_tokens \(16\)"):
        load(WorkerSettings, max_step_tokens=16)
