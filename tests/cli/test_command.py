"""The command as a process: what it imports, how it ends, what it says."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

TRACE = """
import runpy, sys
for name in {missing!r}: sys.modules[name] = None
sys.argv = ["inferloom", *{args!r}]
try:
    runpy.run_module("inferloom_cli", run_name="__main__", alter_sys=True)
finally:
    print("imported:", *sorted({{name.partition(".")[0] for name in sys.modules}}))
"""


def inferloom(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    command = [sys.executable, "-m", "inferloom_cli", *args]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=os.environ | (env or {})
    )


def traced(*args: str, missing: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the command line with some libraries missing; the last line of output names what was imported."""
    command = [sys.executable, "-c", TRACE.format(args=args, missing=missing)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.fixture
def closed() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


COMMANDS = (
    *("up", "registry", "worker", "gateway"),
    *("ps", "top", "models", "explain", "logs", "doctor"),
    *("load", "unload", "drain", "keys", "certs"),
    *("run", "chat", "embed", "pull", "bench"),
)


def test_help_is_quick() -> None:
    """The best of three takes less than 0.6 s of processor time, which leaves room for a slow machine."""
    times = []
    for _ in range(3):
        before = os.times()
        assert inferloom("--help").returncode == 0
        after = os.times()
        times.append(
            after.children_user + after.children_system - before.children_user - before.children_system
        )
    assert min(times) < 0.6


@pytest.fixture(scope="module")
def overview() -> str:
    """What `--help` shows."""
    return inferloom("--help").stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, overview: str) -> None:
    """`--help` of each ends well, and the overview lists it."""
    result = inferloom(command, "--help")
    assert result.returncode == 0
    assert f"Usage: inferloom {command}" in result.stdout
    assert command in overview


def test_a_model_may_be_named_as_an_option_too(closed: str) -> None:
    """As `embed`, `bench` and `worker` have it; two models are one too many."""
    asked = inferloom("chat", "--model", "talker", "-m", "hi", "--gateway", closed)
    assert (asked.returncode, f"no gateway at {closed}" in asked.stderr) == (1, True)
    two = inferloom("run", "one", "--model", "two", "-m", "hi")
    assert (two.returncode, "one model at a time: one or two" in two.stderr) == (2, True)


def test_a_flag_is_not_shown_as_if_it_took_a_value(overview: str) -> None:
    """`--json`, not `--json <bool>`; and a shell's completion can be installed."""
    assert "<bool>" not in inferloom("ps", "--help").stdout
    assert "<bool>" not in overview
    assert "--install-completion" in overview


def test_the_version_is_the_distributions() -> None:
    """`--version` prints one line."""
    from importlib.metadata import version

    assert inferloom("--version").stdout == f"inferloom {version('inferloom')}\n"


def test_looking_at_the_mesh_needs_neither_torch_nor_fastapi(closed: str) -> None:
    """`ps` imports no service's libraries."""
    imported = set(traced("ps", "--registry", closed).stdout.rpartition("imported:")[2].split())
    assert "grpc" in imported
    assert not imported & {"torch", "transformers", "fastapi", "uvicorn", "numpy"}


@pytest.mark.parametrize(
    ("command", "library", "extra"),
    [("gateway", "fastapi", "gateway"), ("worker", "numpy", "worker")],
)
def test_a_missing_extra_is_one_line_that_installs_it(
    command: str, library: str, extra: str, closed: str
) -> None:
    """The line is fit to paste."""
    flags = ("--model", "all-minilm-l6-v2") if command == "worker" else ()
    result = traced(command, "--registry", closed, *flags, missing=(library,))
    line = f"{library} is not installed: pip install '.[{extra}]' in Inferloom's folder installs it"
    assert f"inferloom: {line}\n" == result.stderr


def test_the_bare_distribution_says_how_to_get_the_command_line() -> None:
    """Without typer there is still an answer."""
    result = traced("ps", missing=("typer",))
    assert result.stderr == (
        "inferloom: typer is not installed: pip install '.[all]' in Inferloom's folder installs it\n"
    )


@pytest.mark.parametrize(
    ("args", "service"),
    [
        (("ps", "--registry"), "registry"),
        (("models", "--gateway"), "gateway"),
        (("chat", "-m", "hello", "--gateway"), "gateway"),
        (("embed", "hello", "--gateway"), "gateway"),
    ],
)
def test_when_nothing_listens_the_line_says_what_to_start(
    args: tuple[str, ...], service: str, closed: str
) -> None:
    """One line, at once, with status 1."""
    result = inferloom(*args, closed)
    variable = f"INFERLOOM_{service.upper()}"
    assert result.stderr == (
        f"inferloom: no {service} at {closed} – name another with --{service} or {variable}, "
        "or start one with `inferloom up`\n"
    )
    assert result.returncode == 1


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("frob",), "No such command"),
        (("run", "no such model", "-m", "hi"), "no such model"),
        (("serve",), "inferloom up"),
        (("list",), "inferloom models"),
        (("help",), "--help"),
        (("ps", "--registry", "no where"), "host:port"),
        (("up", "--workers", "0"), "--workers"),
        (("chat", "-m", " "), "the message is empty"),
        (("up", "--model", "=echo"), "name"),
        (("up", "--model", "a=echo", "--model", "a=echo"), "two models have the same name"),
        (("worker", "--model", "no such model"), "no such model"),
        (("up", "--model", "e=echo", "--quantize", "int3"), "--quantize must be 'int8' or 'int4'"),
        (("up", "--model", "e=echo", "--speculation", "on"), "--speculation must be"),
        (("up", "--model", "e=echo", "--cors", "app.example"), "no origin"),
        (("gateway", "--cors", "app.example"), "no origin"),
    ],
)
def test_misuse_is_a_readable_line(args: tuple[str, ...], words: str) -> None:
    """No traceback, and status 2."""
    result = inferloom(*args)
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert result.returncode == 2


def test_a_wrong_environment_is_a_readable_line() -> None:
    """The variable is at fault in the same words as a flag would be."""
    result = inferloom("ps", env={"INFERLOOM_REGISTRY": "no where"})
    wrong = "inferloom: INFERLOOM_REGISTRY: 'no where' is not an address of the form host:port\n"
    assert wrong == result.stderr


def test_a_taken_port_is_named_before_anything_starts() -> None:
    """`up` says which port and which flag moves it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = inferloom("up", "--model", "echo=echo", "--port", str(port))
    taken = f"inferloom: port {port} is taken by another process; choose another with --port\n"
    assert result.stderr == taken
    assert result.returncode == 1


def test_a_taken_address_is_told_in_our_words_alone() -> None:
    """Without a line of gRPC's core before it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = inferloom("worker", "--model", "e=echo", "--listen", f"127.0.0.1:{port}")
    assert "add_port" not in result.stderr
    assert str(port) in result.stderr
    assert result.returncode == 1


def test_a_worker_does_not_say_that_it_listens_before_it_looks(closed: str) -> None:
    """A mistyped path is told first."""
    result = inferloom("worker", "--model", "a=./nope.gguf", "--listen", "127.0.0.1:0", "--registry", closed)
    assert "listens on" not in result.stderr
    assert result.stderr.endswith("inferloom: ./nope.gguf does not exist\n")
    assert result.returncode == 1


def test_settings_that_nobody_knows_are_refused(tmp_path: Path) -> None:
    """In the file and in the environment, whichever command reads them."""
    file = tmp_path / "settings.toml"
    file.write_text("max_runing = 3\n")
    result = inferloom("ps", env={"INFERLOOM_CONFIG": str(file), "INFERLOOM_MAXRUNNING": "3"})
    assert f"{file}: max_runing is no setting; did you mean max_running?" in result.stderr
    assert "INFERLOOM_MAXRUNNING is no setting; did you mean INFERLOOM_MAX_RUNNING?" in result.stderr
    assert result.returncode == 2


def test_one_file_drives_services_and_clients(tmp_path: Path) -> None:
    """`models` looks where the gateway of the same file listens."""
    file = tmp_path / "settings.toml"
    file.write_text('gateway_grpc_listen = "127.0.0.1:1"\n')
    assert "no gateway at 127.0.0.1:1 " in inferloom("models", env={"INFERLOOM_CONFIG": str(file)}).stderr


def test_all_taken_ports_are_told_at_once() -> None:
    """With the flag that moves each."""
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        ports = [str(server.getsockname()[1]) for server in (one, two)]
        flags = ("--port", ports[0], "--grpc-port", ports[1], "--registry-port", "0")
        result = inferloom("up", "--model", "e=echo", *flags)
    assert all(port in result.stderr for port in ports)
    assert "(--port)" in result.stderr
    assert "(--grpc-port)" in result.stderr
