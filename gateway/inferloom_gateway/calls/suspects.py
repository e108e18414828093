"""Which requests may be what ends workers, and so go to them a few at a time. Pure; time is given in."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum

FRESH_S = 0.25
"""How long a worker is kept to the suspects of one turn, if they have not got a token before."""

SINGLE_TURNS = 3
"""Turns of one suspect each, before turns grow."""

ALONE_S = 2.0
"""How long a worker is kept to one that must be alone."""

DEATH_S = 15.0
"""In which time the calls of a lost worker find out that it was; and how long turns go on growing."""


class Blame(Enum):
    """Whose doing the loss of a worker is taken for."""

    NONE = "none"
    """Of others than the request that was asked about."""
    SHARED = "shared"
    """Of one of several, and it is among them."""
    OWN = "own"


@dataclass(slots=True)
class _Turn:
    """Suspects that a worker was given together."""

    began: float
    number: int
    room: int
    """How many more may join."""
    alone: bool


class Suspects:
    """A request that a worker had when it was lost, read or not, is a suspect until it has got a token
    elsewhere.

    Suspects go to a worker in turns, so that if it is lost as well, it is known which request did it, or
    nearly: only the suspects on it are blamed then, and all that were on it where there was none. The first
    turns have one suspect each; with many that wait, workers die more often of something else, and nobody is
    to wait for hundreds of others: then each turn has twice as many as the one before. Of several that are
    blamed together each goes on alone.

    A suspect that has got a token is marked for as long as it is there. If its worker is lost then, without a
    suspect on it, that tells something of the marked only where there is one.
    """

    def __init__(self) -> None:
        self.freed: Callable[[Hashable], None] = lambda _: None
        """Told of each worker that its last suspect has left."""
        self._on: dict[Hashable, dict[Hashable, float]] = {}
        """By worker, its suspects in the order in which they came, and when."""
        self._where: dict[Hashable, Hashable] = {}
        self._turns: dict[Hashable, _Turn] = {}
        self._marked: dict[Hashable, set[Hashable]] = {}
        self._where_marked: dict[Hashable, Hashable] = {}
        self._blamed: dict[tuple[Hashable, int], tuple[float, frozenset[Hashable], bool]] = {}
        """By lost worker and its epoch, when the first of its calls found out, who was suspect then, or else
        marked, and whether these were suspects."""

    def may_take(self, worker: Hashable, now: float, *, alone: bool = False) -> bool:
        """Whether a worker can be given a suspect, ``alone`` or with others."""
        there = self._on.get(worker)
        if not there:
            return True
        turn = self._turns[worker]
        joins = turn.room > 0 and now - turn.began < FRESH_S and not (alone or turn.alone)
        return joins or now - _newest(there) >= self._kept_s(turn, alone=alone)

    def free_at(self, worker: Hashable, *, alone: bool = False) -> float:
        """From when on a worker that may take none can be given a suspect, whatever becomes of those that it
        has."""
        there = self._on.get(worker)
        return _newest(there) + self._kept_s(self._turns[worker], alone=alone) if there else 0.0

    def enter(self, worker: Hashable, request: Hashable, now: float, *, alone: bool = False) -> None:
        """Note that a suspect goes to a worker that may take it."""
        self.leave(request)
        there, last = self._on.setdefault(worker, {}), self._turns.get(worker)
        joins = last is not None and there and last.room > 0 and now - last.began < FRESH_S
        if last is not None and joins and not (alone or last.alone):
            last.room -= 1
        else:
            self._turns = {
                each: turn
                for each, turn in self._turns.items()
                if now - turn.began < DEATH_S or (each in self._on and each != worker)
            }
            number = self._turns[worker].number + 1 if worker in self._turns else 0
            room = 0 if alone else (1 << max(0, number - SINGLE_TURNS + 1)) - 1
            self._turns[worker] = _Turn(now, number, room, alone)
        there[request] = now
        self._where[request] = worker

    def leave(self, request: Hashable) -> None:
        """Note that a request is no suspect any more, or not there. One that is none changes nothing."""
        worker = self._where.pop(request, None)
        if worker is None:
            return
        there = self._on[worker]
        del there[request]
        if not there:
            del self._on[worker]
            self.freed(worker)

    def mark(self, worker: Hashable, request: Hashable) -> None:
        """Note that a request is on a worker, and no suspect, that an earlier one was lost with."""
        self.unmark(request)
        self._marked.setdefault(worker, set()).add(request)
        self._where_marked[request] = worker

    def unmark(self, request: Hashable) -> None:
        """Note that a request is not there any more. One that was not marked changes nothing."""
        worker = self._where_marked.pop(request, None)
        if worker is None:
            return
        marked = self._marked[worker]
        marked.discard(request)
        if not marked:
            del self._marked[worker]

    def lost(self, worker: Hashable, request: Hashable, now: float, epoch: int = 0) -> Blame:
        """Note that a worker was lost with a request on it; whether that counts against the request. One that
        came back under its name, and is lost again, has another ``epoch``."""
        self._blamed = {each: found for each, found in self._blamed.items() if now - found[0] < DEATH_S}
        life = worker, epoch
        if life not in self._blamed:
            suspects = frozenset(self._on.get(worker, ()))
            self._blamed[life] = now, suspects or frozenset(self._marked.get(worker, ())), bool(suspects)
        _, blamed, suspected = self._blamed[life]
        self.leave(request)
        self.unmark(request)
        if request not in blamed:
            return Blame.NONE if suspected else Blame.OWN
        return Blame.SHARED if len(blamed) > 1 else Blame.OWN

    def _kept_s(self, turn: _Turn, *, alone: bool) -> float:
        return ALONE_S if alone or turn.alone else FRESH_S


def _newest(there: dict[Hashable, float]) -> float:
    return next(reversed(there.values()))
