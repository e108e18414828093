"""Who may speak to a server now: as many at once as it runs, the others in turn. Lives on the event loop."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from inferloom_mesh.errors import InferloomError
from inferloom_worker.engine.queue_bound import QueueBound, Waiting, ahead_of


@dataclass(slots=True, eq=False)
class _Turn:
    """A place in the queue."""

    priority: int
    count: int
    tenant: str
    come: asyncio.Future[None]


@dataclass(slots=True)
class _Line:
    """What one tenant waits for, first come first."""

    turns: deque[_Turn] = field(default_factory=deque)
    debt: int = 0
    """Times that he is passed over, for places that he took with one turn."""


class _Round:
    """The tenants of one priority, who take turns: deficit round robin (Shreedhar and Varghese, 1995) with a
    quantum of one place, owed afterwards. Who comes, or comes again, stands at the end, and who has had
    places goes there, so that nobody is passed by more than once by each other for each place."""

    def __init__(self) -> None:
        self.lines: OrderedDict[str, _Line] = OrderedDict()

    def add(self, turn: _Turn) -> None:
        self.lines.setdefault(turn.tenant, _Line()).turns.append(turn)

    def remove(self, turn: _Turn) -> None:
        line = self.lines[turn.tenant]
        line.turns.remove(turn)
        if not line.turns and not line.debt:
            del self.lines[turn.tenant]

    def first(self) -> _Turn | None:
        """Whose turn it is."""
        while any(line.turns for line in self.lines.values()):
            tenant, line = next(iter(self.lines.items()))
            if line.turns and (not line.debt or len(self.lines) == 1):
                line.debt = 0
                return line.turns[0]
            line.debt = max(0, line.debt - 1)
            if line.turns or line.debt:
                self.lines.move_to_end(tenant)
            else:
                del self.lines[tenant]
        return None

    def take(self, turn: _Turn) -> None:
        """He has had the turn that :meth:`first` gave."""
        line = self.lines[turn.tenant]
        line.turns.popleft()
        line.debt = turn.count - 1
        if line.turns or line.debt:
            self.lines.move_to_end(turn.tenant)
        else:
            del self.lines[turn.tenant]


class Places:
    """Gives places to requests, each as many as it has choices; by priority, and to tenants in turn.

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
        self._rounds: dict[int, _Round] = {}

    @property
    def waiting(self) -> int:
        """Places that are waited for."""
        return sum(turn.count for turn in self._turns())

    def resize(self, slots: int) -> None:
        """Have another number of them; who has one keeps it."""
        self.slots = slots
        self._admit()

    def join(self, count: int, tenant: str, priority: int, deadline: float | None) -> "Place":
        """Take places, or stand in the queue for them.

        Raises:
            InferloomError: SERVER_OVERLOADED or WAIT_TOO_LONG: it would be too long a wait.
        """
        now = self._clock()
        self._bound.passed(self.taken, 0, now)
        turns = [*self._turns()]
        # Those of a lower priority may wait for more places than there are.
        if self._fits(count) and all(turn.priority < priority for turn in turns):
            self.taken += count
            return Place(self, count, None)
        waits = [Waiting(turn.tenant, turn.priority) for turn in turns for _ in range(turn.count)]
        ahead = ahead_of(tenant, priority, waits, count)
        left = None if deadline is None else deadline - now
        self._bound.check(count, ahead, len(waits), self.taken, self.slots, left)
        come: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        turn = _Turn(priority, count, tenant, come)
        self._rounds.setdefault(priority, _Round()).add(turn)
        return Place(self, count, turn)

    def fail(self, error: InferloomError) -> None:
        """End all that wait with an error."""
        turns = [*self._turns()]
        self._rounds.clear()
        for turn in turns:
            turn.come.set_exception(error.kept())
            turn.come.exception()  # who has gone does not ask

    def _turns(self) -> Iterator[_Turn]:
        for each in self._rounds.values():
            for line in each.lines.values():
                yield from line.turns

    def _fits(self, count: int) -> bool:
        # More choices than there are places run together when nothing else does.
        return self.taken == 0 or self.taken + count <= self.slots

    def _free(self, count: int) -> None:
        self._bound.passed(self.taken, count, self._clock())
        self.taken -= count
        self._admit()

    def _quit(self, turn: _Turn) -> None:
        self._rounds[turn.priority].remove(turn)
        turn.come.set_exception(asyncio.InvalidStateError())
        turn.come.exception()  # nobody waits for it
        self._admit()

    def _admit(self) -> None:
        for _, each in sorted(self._rounds.items(), reverse=True):
            while (turn := each.first()) is not None:
                if not self._fits(turn.count):
                    return
                each.take(turn)
                self.taken += turn.count
                turn.come.set_result(None)
        if self.taken == 0:
            self._rounds.clear()  # and with them what anybody owes


class Place:
    """A request's places, from now on or in its turn."""

    __slots__ = ("_count", "_over", "_places", "_turn")

    def __init__(self, places: Places, count: int, turn: _Turn | None) -> None:
        self._places = places
        self._count = count
        self._turn = turn
        self._over = False

    async def come(self) -> None:
        """Wait for its turn."""
        if self._turn is not None:
            await asyncio.shield(self._turn.come)

    @property
    def here(self) -> bool:
        """Whether its turn has come."""
        come = None if self._turn is None else self._turn.come
        return come is None or (come.done() and come.exception() is None)

    def leave(self) -> None:
        """Give it back. Leaving twice does nothing."""
        if self._over:
            return
        self._over = True
        if self._turn is None or self.here:
            self._places._free(self._count)
        elif not self._turn.come.done():
            self._places._quit(self._turn)
