"""One process of a mesh, which can be signalled, killed and started again."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

START_LIMIT_S = 90.0
STOP_LIMIT_S = 40.0

MODEL = "m"

POLL_S = 0.02

_LAST_LINES = 15


class EndedError(Exception):
    """A part that is to run has ended; the message has its last lines."""


@dataclass
class Part:
    """A command that is run in a folder; what it says goes to a file there."""

    name: str
    command: Sequence[str]
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    """Settings, besides those of the command line."""
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    def start(self) -> None:
        """Start it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("INFERLOOM_")}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**kept, **self.env},
            )

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def measured(self) -> psutil.Process:
        """Its process, to be looked at."""
        assert self.process is not None
        return psutil.Process(self.process.pid)

    async def killed(self) -> None:
        """Kill it, and wait until it is gone."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        await self.ended()

    async def restarted(self) -> None:
        """Let it drain, and start it anew."""
        self.signal(signal.SIGTERM)
        await self.ended()
        self.start()

    async def ended(self) -> int:
        """Wait until it has ended; return its status."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, STOP_LIMIT_S)

    def check(self) -> None:
        """Note whether it runs.

        Raises:
            EndedError: It was started, and has ended.
        """
        status = None if self.process is None else self.process.poll()
        if status is not None:
            tail = "\n".join(self.said.splitlines()[-_LAST_LINES:])
            raise EndedError(f"{self.name} ended with status {status}:\n{tail}")

    @property
    def said(self) -> str:
        """What it has said until now, over all of its starts."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    async def says(self, pattern: str, limit_s: float, after: int = 0) -> float | None:
        """Wait until it says something, behind the first ``after`` characters; return how long that took, in
        seconds, or None if it did not within the limit."""
        began = time.monotonic()
        while time.monotonic() - began < limit_s:
            if re.search(pattern, self.said[after:]):
                return time.monotonic() - began
            await asyncio.sleep(POLL_S)
        return None

    @property
    def _log(self) -> Path:
        return self.folder / f"{self.name}.log"


_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, and that nobody else here was given: who was may not listen yet."""
    sockets = []
    ports: list[int] = []
    while len(ports) < count:
        sockets.append(socket.create_server(("127.0.0.1", 0)))
        port = sockets[-1].getsockname()[1]
        if port not in _given:
            _given.add(port)
            ports.append(port)
    for one in sockets:
        one.close()
    return ports
