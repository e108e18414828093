"""``inferloom run`` serves a model for as long as somebody talks to it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from inferloom_cli.client_settings import ClientSettings
from inferloom_cli.credentials import Credentials
from inferloom_cli.run import Quiet, run
from inferloom_cli.runmesh import background
from inferloom_cli.runmesh.keeper import GaveUpError
from inferloom_cli.up_flags import alone
from inferloom_mesh.net import Address
from tests.cli.fake_mesh import FakeMesh
from tests.patience import PATIENCE_S, until

NOBODY = ("--gateway", "127.0.0.1:1")
"""No gateway listens there, whatever runs on this machine."""


async def test_a_mesh_that_serves_the_model_is_asked(mesh: FakeMesh) -> None:
    """Nothing is started, then."""
    import asyncio

    talks: list[tuple[Address, str]] = []

    def talk(address: Address, model: str, shown: Credentials) -> None:
        talks.append((address, model))

    settings = ClientSettings(gateway=mesh.address)
    await asyncio.to_thread(run, alone("talker"), None, settings, talk)
    assert talks == [(mesh.address, "talker")]


def test_a_model_is_served_asked_and_gone() -> None:
    """With nothing but a name, and the answer alone on standard output."""
    command = [sys.executable, "-m", "inferloom_cli", "run", "mine=echo", "-m", "Hello there", *NOBODY]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (result.returncode, result.stdout) == (0, "user\nHello there\n"), result.stderr
    assert "✓" not in result.stderr


@pytest.mark.slow
def test_a_killed_one_leaves_nothing_behind(tmp_path: Path) -> None:
    """Its services notice that it is gone."""
    command = [
        sys.executable,
        "-m",
        "inferloom_cli",
        "run",
        "mine=echo:delay_ms=50",
        *NOBODY,
        "-m",
        "a " * 2000,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.read(1)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 3
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    until(
        lambda: [each for each in children if each.is_running()],
        "its services are gone",
        lambda left: not left,
    )


@pytest.mark.parametrize(
    ("spec", "words"), [("./nope.gguf", "does not exist"), ("echo:delay_ms=x", "delay_ms")]
)
def test_what_cannot_be_served_is_told(spec: str, words: str) -> None:
    """In a line, before anything is started."""
    command = [sys.executable, "-m", "inferloom_cli", "run", spec, "-m", "hi", *NOBODY]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert result.returncode in (1, 2)


def test_a_mesh_that_is_given_up_meanwhile_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the talk is over, in the words of what gave it up; one that never began at once."""

    class Failing:
        def __init__(self, *_: object, on_change: Any, **__: object) -> None:
            self._told = on_change

        async def run(self, stop: object) -> None:
            if began:
                self._told("the report")
            raise GaveUpError("worker-1", "ends again and again", ["the last line"])

    monkeypatch.setattr(background, "Supervisor", Failing)
    plan: Any = None  # it is not looked at
    for began in (True, False):
        talked: list[Any] = []
        with (
            pytest.raises(GaveUpError, match="worker-1"),
            background.running(plan, tmp_path, Quiet()) as mesh,
        ):
            talked.append(mesh)
        assert talked == (["the report"] if began else [])
