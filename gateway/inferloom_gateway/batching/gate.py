"""Lets lines through as the pace allows, in fair shares."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from inferloom_gateway.batching.pace import Pace

Lane = tuple[str, str]
"""A tenant and one of its batches."""


class Gate:
    """Counts the lines that run. The next is of the tenant, and there of the batch, with the fewest running.

    Args:
        pace: Says how many may.
        clock: The pace's clock.
    """

    def __init__(self, pace: Pace, clock: Callable[[], float]) -> None:
        self._pace = pace
        self._clock = clock
        self._waiting: dict[asyncio.Future[None], Lane] = {}
        self._tenants: Counter[str] = Counter()
        self._lanes: Counter[Lane] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether no more lines are to begin."""
        return self._closed.is_set()

    def close(self) -> None:
        """Let those that wait have their turns at once, to find that no more are to begin."""
        self._closed.set()
        self._admit()

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until no more lines are to begin."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)

    @asynccontextmanager
    async def turn(self, lane: Lane) -> AsyncIterator[None]:
        """Wait for a turn, and have it until the block ends."""
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[given] = lane
        self._admit()
        try:
            await given
            yield
        finally:
            if self._waiting.pop(given, None) is None:  # it had its turn
                self._count(lane, -1)
            self._admit()

    def _admit(self) -> None:
        while self._waiting and (wait := self._wait()) <= 0:
            given = min(self._waiting, key=self._share)  # of equals the one that has waited longest
            self._count(self._waiting.pop(given), 1)
            if not given.done():
                given.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and not math.isinf(wait):
            self._timer = asyncio.get_running_loop().call_later(wait, self._admit)

    def _wait(self) -> float:
        return 0.0 if self.closed else self._pace.wait(self._clock())

    def _share(self, given: asyncio.Future[None]) -> tuple[int, int]:
        lane = self._waiting[given]
        return self._tenants[lane[0]], self._lanes[lane]

    def _count(self, lane: Lane, by: int) -> None:
        self._pace.running += by
        self._tenants[lane[0]] += by
        self._lanes[lane] += by
        if not self._tenants[lane[0]]:
            del self._tenants[lane[0]]
        if not self._lanes[lane]:
            del self._lanes[lane]
