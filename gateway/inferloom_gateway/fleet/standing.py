"""How some workers stand: who may get requests, and what they have to do together. Pure; time is given in."""

from collections.abc import Callable, Iterable

from inferloom_gateway.fleet.ask import Wanted
from inferloom_gateway.fleet.member import Member

NONE, LAST, WILLING, GOOD = range(4)
"""How much speaks for a worker: nothing; it takes requests; it has not just said 'not now'; nothing speaks
against it. Workers of a lower level get requests only while there is none of a higher one."""

OLDEST_S = 0.25
"""How old a count may be."""

Level = Callable[[Member], int]


class Standing:
    """Sums over the workers of the highest level that there is among some.

    Counting takes time for each worker, so it is done once for as many choices as an eighth of the workers,
    and so for each of them where there are few.
    """

    def __init__(self) -> None:
        self.level = NONE
        """The highest level."""
        self.load = 0
        """Requests that its workers have."""
        self.room = 0.0
        """Their capacity, weighted."""
        self.top = 1.0
        """The highest weight of one of them."""
        self._left = 0
        self._at = float("-inf")
        self._for: Wanted | None = None

    def fresh(self, members: tuple[Member, ...], level: Level, asked: Wanted, now: float) -> "Standing":
        """Count anew if it is due, for what is ``asked`` (how a worker stands depends on it)."""
        if self._left <= 0 or now - self._at >= OLDEST_S or asked != self._for:
            self.count(members, level, asked.model, now)
            self._left = len(members) // 8
            self._for = asked
        else:
            self.load += 1  # the choice before this one
        self._left -= 1
        return self

    def count(self, members: Iterable[Member], level: Level, model: str, now: float) -> None:
        """Count those that hold a model."""
        self._at = now
        self.level, self.load, self.room, self.top = NONE, 0, 0.0, 0.0
        for member in members:
            its = level(member)
            if its < self.level or its == NONE:
                continue
            if its > self.level:
                self.level, self.load, self.room, self.top = its, 0, 0.0, 0.0
            weight = member.weight(model, now)
            self.load += member.load
            self.room += member.capacity * weight
            self.top = max(self.top, weight)
