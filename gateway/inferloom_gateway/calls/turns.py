"""Where calls wait for a worker that they may have soon."""

import asyncio
import math
from bisect import bisect_right, insort
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from inferloom_gateway.calls.suspects import Suspects
from inferloom_gateway.fleet.members import Member

LOOK_S = 3.0
"""A call that waits looks for a worker by itself as often, should nothing that happens have told it to."""

SOON_S = 0.02
"""How long changes of the workers are gathered before those that wait hear of them."""

_LEAST_S = 0.001
"""What a timer runs at least: clocks differ in their last digits."""


class Caller(Protocol):
    """A call that wants a worker, and was given none when it asked."""

    @property
    def suspect(self) -> bool:
        """Whether it takes turns on a worker with others like it."""

    @property
    def alone(self) -> bool:
        """Whether its turn is for it alone."""

    @property
    def slowness(self) -> float:
        """For how long its first token was, or has been, waited for, in seconds."""

    @property
    def kept_from(self) -> Sequence[Member]:
        """The workers that it may have in its turn."""

    def next(self) -> Member | None:
        """Ask for a worker; None: it has to wait. Raises InferloomError."""

    def candidates(self) -> Sequence[Member]:
        """The workers that may be given to it, now or in its turn."""

    def asks_again_at(self) -> float:
        """When it asks again in any case."""


_Order = tuple[float, int]


@dataclass(slots=True, eq=False)
class _Place:
    caller: Caller
    order: _Order
    """The less, the earlier it is called."""
    waits_for: set[Hashable] = field(default_factory=set)
    turn: asyncio.Future[None] | None = None
    """Is done when it is to ask. None: it asks just now."""
    called_by: "_Round | None" = None
    """The round that waits to hear what became of it."""

    @property
    def waits(self) -> bool:
        """Whether it can be called."""
        return self.turn is not None and not self.turn.done()


@dataclass(slots=True, eq=False)
class _Round:
    """One after another of those that wait for a worker is called, as long as it may take them."""

    worker: Hashable
    behind: _Order = (-math.inf, 0)
    """The order of the last that was called."""
    again: bool = False
    """Whether the worker was freed meanwhile."""


class Turns:
    """Calls that wait: suspects in the order of how slow their first token was, the slowest first, and others
    behind them, in the order in which they came.

    Nobody looks again and again: one is called when a worker that it waits for has room for a suspect, the
    next when that one has a worker or has to wait on; and those that a worker is new for when it comes.

    Args:
        suspects: Where suspects are. Its ``freed`` is taken.
        clock: Monotonic seconds.
    """

    def __init__(self, suspects: Suspects, clock: Callable[[], float]) -> None:
        self.calls = 0
        """How often one that waits was called, or looked by itself."""
        self._suspects = suspects
        suspects.freed = self._look
        self._clock = clock
        self._places: list[_Place] = []
        """In order."""
        self._count = 0
        self._rounds: dict[Hashable, _Round] = {}
        self._timers: dict[Hashable, tuple[asyncio.TimerHandle, float]] = {}
        """When a worker may take another by itself."""
        self._changing: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return len(self._places)

    async def member(self, caller: Caller) -> Member:
        """Wait until ``caller``, which has just asked in vain, is given a worker.

        Raises:
            InferloomError: It may have none any more.
        """
        place = _Place(caller, (-caller.slowness if caller.suspect else math.inf, self._count))
        self._count += 1
        insort(self._places, place, key=_order)
        try:
            while True:
                await self._wait(place)
                if (member := caller.next()) is not None:
                    return member
        finally:
            self._places.remove(place)
            self._asked(place)
            if not self._places:
                self._rest()

    def workers_changed(self) -> None:
        """Workers came, went, or can be reached again. It is looked at a moment later, once for all
        that changed."""
        if self._places and self._changing is None:
            self._changing = asyncio.get_running_loop().call_later(SOON_S, self._admit)

    async def _wait(self, place: _Place) -> None:
        loop, now = asyncio.get_running_loop(), self._clock()
        place.waits_for = set(place.caller.kept_from)
        place.turn = loop.create_future()
        for worker in place.waits_for:
            self._arm(worker, self._suspects.free_at(worker, alone=place.caller.alone))
        self._asked(place)
        wait_s = max(_LEAST_S, min(LOOK_S, place.caller.asks_again_at() - now))
        timer = loop.call_later(wait_s, self._call, place)
        try:
            await place.turn
        finally:
            timer.cancel()
            place.turn = None

    def _call(self, place: _Place) -> None:
        if place.turn is not None and not place.turn.done():
            self.calls += 1
            place.turn.set_result(None)

    def _asked(self, place: _Place) -> None:
        """One that was called has a worker, waits on, or has left: the next."""
        called_by, place.called_by = place.called_by, None
        if called_by is not None:
            self._go_on(called_by)

    def _look(self, worker: Hashable) -> None:
        """Call those that wait for a worker, as far as it may take them."""
        if (running := self._rounds.get(worker)) is not None:
            running.again = True
        elif self._places:
            self._rounds[worker] = _Round(worker)
            self._go_on(self._rounds[worker])

    def _go_on(self, running: _Round) -> None:
        worker = running.worker
        place = self._next(worker, running.behind)
        if place is not None:
            running.behind, place.called_by = place.order, running
            self._call(place)
            return
        del self._rounds[worker]
        flags = {each.caller.alone for each in self._places if each.waits and worker in each.waits_for}
        if flags:
            self._arm(worker, min(self._suspects.free_at(worker, alone=flag) for flag in flags))
        if running.again:
            self._look(worker)

    def _next(self, worker: Hashable, behind: _Order) -> _Place | None:
        """The first behind another that waits for a worker and may have it."""
        now = self._clock()
        takes = {alone: self._suspects.may_take(worker, now, alone=alone) for alone in (False, True)}
        for at in range(bisect_right(self._places, behind, key=_order), len(self._places)):
            place = self._places[at]
            if place.waits and worker in place.waits_for:
                caller = place.caller
                if not caller.suspect or takes[caller.alone]:
                    return place
        return None

    def _arm(self, worker: Hashable, due: float) -> None:
        """Look at a worker when it is time, or earlier."""
        if worker in self._timers:
            timer, at = self._timers[worker]
            if at <= due:
                return
            timer.cancel()
        wait_s = max(_LEAST_S, due - self._clock())
        self._timers[worker] = asyncio.get_running_loop().call_later(wait_s, self._due, worker), due

    def _due(self, worker: Hashable) -> None:
        del self._timers[worker]
        self._look(worker)

    def _admit(self) -> None:
        """Let those that wait know of workers that are new for them; who has none to wait for is called."""
        self._changing = None
        new: dict[Hashable, None] = {}
        for place in list(self._places):
            there = set(place.caller.candidates())
            found = there - place.waits_for
            new |= dict.fromkeys(found)
            left_alone = bool(place.waits_for) and not place.waits_for & there
            place.waits_for |= found
            if left_alone and not found:
                self._call(place)
        for worker in new:
            self._look(worker)

    def _rest(self) -> None:
        """Nobody waits any more."""
        for timer, _ in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._changing is not None:
            self._changing.cancel()
            self._changing = None


def _order(place: _Place) -> _Order:
    return place.order
