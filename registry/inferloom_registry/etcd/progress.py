"""How far a watch has come, and who waits until it has come further."""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count


class Progress:
    """The revision up to which everything was heard. Waiting for one costs nothing while others come.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.revision = 0
        """The last revision that was heard."""
        self.heard_at = clock()
        """When anything was heard last."""
        self._clock = clock
        self._numbers = count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []

    def hear(self, revision: int) -> None:
        """Everything up to ``revision`` was heard."""
        self.heard_at = self._clock()
        self.revision = max(self.revision, revision)
        while self._waiting and self._waiting[0][0] <= self.revision:
            *_, waiter = heapq.heappop(self._waiting)
            if not waiter.done():
                waiter.set_result(None)

    def set(self, revision: int) -> None:
        """Everything was read as it was at ``revision``, which may be an earlier one: etcd may have been put
        back to what it was."""
        self.revision = revision
        self.hear(revision)

    async def reach(self, revision: int) -> None:
        """Wait until everything up to ``revision`` was heard."""
        if self.revision < revision:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (revision, next(self._numbers), waiter))
            await waiter
