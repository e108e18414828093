"""Keeps one service running: starts it, starts it again when it ends, and stops it when told to."""

import asyncio
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from inferloom_cli.runmesh.children import Child, Lifeline
from inferloom_cli.runmesh.logs import Tail
from inferloom_cli.runmesh.readiness import Report
from inferloom_cli.runmesh.restart import RestartPolicy


class GaveUpError(Exception):
    """A service cannot be kept running.

    Args:
        name: The service.
        reason: What happened, as the end of a sentence that starts with the name.
        tail: The last lines that it wrote.
    """

    def __init__(self, name: str, reason: str, tail: Sequence[str]) -> None:
        super().__init__(f"{name} {reason}")
        self.tail = tuple(tail)


@dataclass(slots=True)
class Keeper:
    """One service of the mesh, whichever process it is at the moment."""

    name: str
    command: Callable[[Report | None], Sequence[str]]
    """The command line; it is given what the service said when it was last ready, so that a service which
    comes back can take the address that it had."""
    log: Tail
    on_line: Callable[[str, str, int], None]
    """Is given the name, each line and its level."""
    on_news: Callable[[str], None]
    """Is told, in a sentence, when the service ends unasked and when it is back."""
    on_ready: Callable[[], None]
    """Is told each time that the service is ready."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What its environment has beside this process's."""
    given: bytes = field(default=b"", repr=False)
    """What each process of it reads from its standard input."""
    report: Report | None = None
    """What the service said when it was last ready."""
    was_ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set from the first time on that the service is ready."""
    pid: int | None = None
    _policy: RestartPolicy = field(default_factory=RestartPolicy)
    _child: Child | None = None
    _task: "asyncio.Task[None] | None" = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self, lifeline: Lifeline) -> "asyncio.Task[None]":
        """Keep the service running from now on; the task ends when it was stopped, or with GaveUpError."""
        self._task = asyncio.create_task(self._run(lifeline), name=self.name)
        return self._task

    async def stop(self, limit: float) -> None:
        """Ask the service to drain and end; end it after ``limit`` seconds."""
        self._stopping.set()
        if self._task is None:
            return
        if self._child is not None:
            self._child.terminate()
        await asyncio.wait({self._task}, timeout=limit)
        if not self._task.done():
            self.on_news(f"{self.name} did not stop within {limit:.0f} s and is ended")
            self.kill()
            await asyncio.wait({self._task})

    def kill(self) -> None:
        """End the service at once."""
        self._stopping.set()
        if self._child is not None:
            self._child.kill()

    async def _run(self, lifeline: Lifeline) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            child = await Child.start(
                self.command(self.report), lifeline, self._take, self.environment, self.given
            )
            if self._stopping.is_set():
                child.kill()  # told to stop while it was being made
            self._child, self.pid = child, child.process.pid
            try:
                ready = await self._until_ready(child, started)
                status = await child.wait()
            finally:
                child.kill()  # without effect on one that has ended
                self._child = self.pid = None
            if not self._stopping.is_set():
                await self._consider(status, started, ready)

    async def _until_ready(self, child: Child, started: float) -> float | None:
        report = await child.ready
        if report is None:
            return None
        again = self.report is not None
        self.report = report
        now = time.monotonic()
        if again:
            self.on_news(f"{self.name} is back after {now - started:.1f} s")
        self.was_ready.set()
        self.on_ready()
        return now

    async def _consider(self, status: int, started: float, ready: float | None) -> None:
        how = ending(status)
        # A service that refuses its very first start has said why; trying again would hide it.
        if self.report is None and status > 0:
            raise GaveUpError(self.name, f"{how} while it started", self.log.tail)
        wait = self._policy.ended(started=started, ready=ready, now=time.monotonic())
        if wait is None:
            raise GaveUpError(self.name, f"{how}, and keeps failing to start", self.log.tail)
        self.on_news(f"{self.name} {how}; starting it again in {wait:.1f} s")
        try:
            await asyncio.wait_for(self._stopping.wait(), wait)
        except TimeoutError:
            return

    def _take(self, line: str) -> None:
        self.on_line(self.name, line, self.log.write(line))


def ending(status: int) -> str:
    """Say how a process ended, as the end of a sentence that starts with its name."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
