"""Real processes: a mesh from `inferloom up`, and services by hand."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from inferloom_cli.mesh_report import MeshReport
from tests.patience import PATIENCE_S, until

INFERLOOM = (sys.executable, "-m", "inferloom_cli")
BIN = Path(sys.executable).parent
ANY_PORTS = ("--port", "0", "--grpc-port", "0", "--registry-port", "0", "--worker-port", "0")


def environment() -> dict[str, str]:
    """This process's environment without settings of its own."""
    kept = ("INFERLOOM_CACHE_DIR",)
    return {k: v for k, v in os.environ.items() if not k.startswith("INFERLOOM_") or k in kept}


class Running:
    """A command of ours that runs until it is stopped, and says in a file when it is ready."""

    def __init__(self, folder: Path, *args: str, settings: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._ready_file = folder / "ready.json"
        self.began = time.monotonic()
        with (folder / "output.txt").open("w") as output:
            self.process = psutil.Popen(
                [*INFERLOOM, *args, "--ready-file", str(self._ready_file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,  # no settings file of the developer's is read
                env={**environment(), "INFERLOOM_STORE": str(folder / "store"), **(settings or {})},
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it has written so far."""
        return (self.folder / "output.txt").read_text()

    def report(self) -> dict[str, Any]:
        """What the ready file says, once it does."""

        def read() -> dict[str, Any] | None:
            assert self.process.poll() is None, f"it ended early:\n{self.output}"
            return json.loads(self._ready_file.read_text()) if self._ready_file.exists() else None

        report = until(read, "ready")
        assert report is not None
        return report

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the command alone."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end; return the exit status."""
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        """Stop it and whatever it left behind."""
        family = self.family()
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.wait()
            except psutil.TimeoutExpired:
                self.process.kill()
        for member in family:
            if member.is_running():
                member.kill()
        self.process.wait(PATIENCE_S)

    def family(self) -> list[psutil.Process]:
        """The command's processes below it."""
        try:
            return self.process.children(recursive=True)
        except psutil.NoSuchProcess:
            return []


class Mesh(Running):
    """A mesh from `inferloom up` on free ports."""

    def __init__(self, folder: Path, *args: str, settings: Mapping[str, str] | None = None) -> None:
        logs = ("--log-dir", str(folder / "logs"))
        super().__init__(folder, "up", *ANY_PORTS, *logs, *args, settings=settings)
        try:
            self.made = self.report()
        except BaseException:
            self.close()
            raise
        self.seconds = time.monotonic() - self.began

    @property
    def base_url(self) -> str:
        """Where an OpenAI client is pointed."""
        return f"http://{self.made['rest']}/v1"

    @property
    def grpc(self) -> str:
        """The gateway's gRPC address."""
        return str(self.made["grpc"])

    @property
    def registry(self) -> str:
        """The registry's address."""
        return str(self.made["registry"])

    @property
    def worker(self) -> str:
        """The first worker's address."""
        return str(self.made["workers"][0]["address"])

    def service(self, name: str) -> psutil.Process:
        """The process of ``registry``, ``gateway`` or ``worker``, by its command line."""
        return next(member for member in self.family() if member.cmdline()[3:4] == [name])


def run(*command: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; with ``check``, it must succeed."""
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
        env=environment(),
    )
    assert not check or done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done


def inferloom(*args: str, stdin: str | None = None) -> str:
    """Run a command of ours that must succeed; return what it printed."""
    return run(*INFERLOOM, *args, stdin=stdin if stdin is not None else "").stdout


def grpcurl(*args: str, data: str | None = None) -> str:
    """Run grpcurl without TLS; it must succeed."""
    body = ("-d", data) if data is not None else ()
    return run(str(BIN / "grpcurl"), "-plaintext", "-max-time", "60", *body, *args).stdout


def messages(output: str) -> list[dict[str, Any]]:
    """Split what grpcurl prints for a stream into its JSON objects."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(output.rstrip()):
        message, end = decoder.raw_decode(output, at)
        found.append(message)
        at = end + 1
    return found


REPORT_FIELDS = tuple(MeshReport.__dataclass_fields__)
