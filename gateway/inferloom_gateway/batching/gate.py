"""Lets lines through as the pace allows."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from inferloom_gateway.batching.pace import Pace


class Gate:
    """Counts the lines that run.

    Args:
        pace: Says how many may.
        clock: The pace's clock.
    """

    def __init__(self, pace: Pace, clock: Callable[[], float]) -> None:
        self._pace = pace
        self._clock = clock
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it until the block ends."""
        while (wait := self._pace.wait(self._clock())) > 0:
            try:
                async with asyncio.timeout(None if math.isinf(wait) else wait):
                    await self._changed.wait()
            except TimeoutError:
                continue
        self._pace.running += 1
        try:
            yield
        finally:
            self._pace.running -= 1
            self._changed.set()
            self._changed = asyncio.Event()
