"""The gateway's lines to workers, and the probes of those that were lost."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from inferloom_gateway.fleet.members import Member
from inferloom_mesh.backoff import backoff

log = logging.getLogger(__name__)

PROBE_TIMEOUT_S = 5.0


class Line(Protocol):
    """A connection to one worker."""

    def attach(self) -> None:
        """Make ready for calls, if that can be done ahead. It may be asked for again."""

    async def probe(self, timeout_s: float) -> bool:
        """Whether the worker gives any answer within ``timeout_s``. Returning False may be quicker."""

    async def close(self, grace_s: float | None) -> None:
        """Close it once its calls have ended, after ``grace_s`` seconds at the latest; None: at once."""


L = TypeVar("L", bound=Line)


class Connections(Generic[L]):
    """One line per worker, opened before or at its first call.

    Args:
        connect: Opens a line to a worker.
        linger_s: How long calls that still run on a worker that left the set may take to end.
    """

    def __init__(self, connect: Callable[[Member], L], linger_s: float) -> None:
        self._connect = connect
        self._linger_s = linger_s
        self._lines: dict[Member, L] = {}
        self._probes: dict[Member, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, tell: Callable[[], None]) -> None:
        """Tell when a worker is lost, or answers again."""
        self._listeners.append(tell)

    def line(self, member: Member) -> L:
        """The line to one worker."""
        line = self._lines.get(member)
        if line is None:
            line = self._lines[member] = self._connect(member)
        return line

    def lines(self) -> list[L]:
        """All lines that are open."""
        return list(self._lines.values())

    def opened(self, member: Member) -> L | None:
        """The line to one worker, if it is open."""
        return self._lines.get(member)

    def attach(self, members: Iterable[Member]) -> None:
        """Make the lines to workers ready before there is a call; those that are open learn that something
        was said of their workers, who may take other connections now."""
        for member in members:
            self.line(member).attach()

    def lost(self, member: Member) -> None:
        """Keep new calls away from a worker until it answers a probe."""
        self._reachable(member, reachable=False)
        if member not in self._probes and member in self._lines:
            log.warning("worker %s at %s is unreachable", member.id, member.address)
            self._probes[member] = asyncio.create_task(self._probe(member), name=f"probe {member.id}")

    def retire(self, member: Member) -> None:
        """Close the line of a worker that left the set, once its calls have ended."""
        if probe := self._probes.pop(member, None):
            probe.cancel()
        if line := self._lines.pop(member, None):
            closing = asyncio.create_task(line.close(self._linger_s if member.in_flight else None))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every line at once."""
        tasks = (*self._probes.values(), *self._closing)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(line.close(None) for line in self._lines.values()))
        self._probes.clear()
        self._lines.clear()

    async def _probe(self, member: Member) -> None:
        """Ask for the worker's health until it gives any answer."""
        for wait in backoff():
            if await self._lines[member].probe(PROBE_TIMEOUT_S):
                break
            await asyncio.sleep(wait)
        self._probes.pop(member, None)
        self._reachable(member, reachable=True)
        log.info("worker %s at %s answers again", member.id, member.address)

    def _reachable(self, member: Member, *, reachable: bool) -> None:
        if member.health.reachable is not reachable:
            member.health.reachable = reachable
            for tell in self._listeners:
                tell()
