"""Who may speak to a server now: as many at once as it runs, the others in turn. Lives on the event loop."""

import asyncio
import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from inferloom_mesh.errors import InferloomError
from inferloom_worker.engine.queue_bound import QueueBound, Waiting, ahead_of


@dataclass(order=True, slots=True)
class _Turn:
    """A place in the queue: higher priorities first, then tenants in turn, then who came first."""

    priority: int
    round: int
    number: int
    count: int = field(compare=False)
    tenant: str = field(compare=False)
    come: asyncio.Future[None] = field(compare=False)


class Places:
    """Gives places to requests, each as many as it has choices.

    Args:
        slots: How many there are.
        bound: Decides who may still wait.
        clock: Monotonic seconds.
    """

    def __init__(self, slots: int, bound: QueueBound, clock: Callable[[], float] = time.monotonic) -> None:
        self.slots = slots
        self.taken = 0
        self._bound = bound
        self._clock = clock
        self._queue: list[_Turn] = []
        self._number = 0

    @property
    def waiting(self) -> int:
        """Places that are waited for."""
        return sum(turn.count for turn in self._queue if not turn.come.done())

    def join(self, count: int, tenant: str, priority: int, deadline: float | None) -> "Place":
        """Take places, or stand in the queue for them.

        Raises:
            InferloomError: SERVER_OVERLOADED or WAIT_TOO_LONG: it would be too long a wait.
        """
        now = self._clock()
        self._bound.passed(self.taken, 0, now)
        if self._fits(count) and not self._queue:
            self.taken += count
            return Place(self, count, None)
        # A queue is short, and looked through only where there is no room.
        waits = [
            Waiting(turn.tenant, -turn.priority)
            for turn in self._queue
            for _ in range(turn.count)
            if not turn.come.done()
        ]
        ahead = ahead_of(tenant, priority, waits, count)
        left = None if deadline is None else deadline - now
        self._bound.check(count, ahead, len(waits), self.taken, self.slots, left)
        self._number += 1
        round_ = sum(turn.tenant == tenant and not turn.come.done() for turn in self._queue)
        come: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        turn = _Turn(-priority, round_, self._number, count, tenant, come)
        heapq.heappush(self._queue, turn)
        return Place(self, count, come)

    def fail(self, error: InferloomError) -> None:
        """End all that wait with an error."""
        queue, self._queue = self._queue, []
        for turn in queue:
            if not turn.come.done():
                turn.come.set_exception(error.kept())

    def _fits(self, count: int) -> bool:
        # More choices than there are places run together when nothing else does.
        return self.taken == 0 or self.taken + count <= self.slots

    def _free(self, count: int) -> None:
        self._bound.passed(self.taken, count, self._clock())
        self.taken -= count
        self._admit()

    def _admit(self) -> None:
        while self._queue and (self._queue[0].come.done() or self._fits(self._queue[0].count)):
            turn = heapq.heappop(self._queue)
            if not turn.come.done():
                self.taken += turn.count
                turn.come.set_result(None)


class Place:
    """A request's places, from now on or in its turn."""

    __slots__ = ("_come", "_count", "_over", "_places")

    def __init__(self, places: Places, count: int, come: asyncio.Future[None] | None) -> None:
        self._places = places
        self._count = count
        self._come = come
        self._over = False

    async def come(self) -> None:
        """Wait for its turn."""
        if self._come is not None:
            await asyncio.shield(self._come)

    def leave(self) -> None:
        """Give it back. Leaving twice does nothing."""
        if self._over:
            return
        self._over = True
        if self._come is None or (self._come.done() and self._come.exception() is None):
            self._places._free(self._count)
        elif not self._come.done():
            self._come.set_exception(asyncio.InvalidStateError())
            self._come.exception()  # nobody waits for it
            self._places._admit()
