"""Finds calls whose worker has been silent for too long."""

import asyncio
from typing import Protocol

INTERVAL_S = 0.25
"""Time between two looks, and so how late a stall may be found."""


class Watched(Protocol):
    """A call that may stall."""

    def check(self, now: float) -> None:
        """End the call if it has stalled; ``now`` is a moment of the watch's clock."""


class StallWatch:
    """Looks at all calls at short intervals, which costs a call nothing for each of its events.

    Its clock runs with the looks, and no faster: when this process itself stood still for a while, the calls
    are not to blame, and what their workers sent meanwhile is read before the next look.
    """

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds of watching, as of the last look."""
        self._calls: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, call: Watched) -> None:
        """Watch a call until it is discarded."""
        self._calls.add(call)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._look)

    def discard(self, call: Watched) -> None:
        """Watch a call no longer."""
        self._calls.discard(call)

    def _look(self) -> None:
        self._timer = None
        self.now += INTERVAL_S
        for call in tuple(self._calls):
            call.check(self.now)
        if self._calls:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._look)
