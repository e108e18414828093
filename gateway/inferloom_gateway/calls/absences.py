"""For how long models have had nobody to answer, and whether calls wait for them. Pure; time is given in."""

from collections.abc import Callable

from inferloom_gateway.fleet.ask import Wanted
from inferloom_gateway.fleet.members import Fleet, Member

MOST_WAITING = 1024
"""Calls that may wait for a worker to come; one more is refused at once."""

REFUSED_S = 3.0
"""How long they wait where the registry calls workers ready that say themselves that they cannot: a worker
that stops or starts has told it by then."""

FORGOTTEN_S = 60.0
"""When that is forgotten, if nobody was told so since."""

_There = frozenset[tuple[Member, int]]


class Absences:
    """A model whose workers are all lost, stopping or starting will mostly have one soon: it was restarted.
    So will what only some of its workers do, where these are.

    So calls wait for it for a while, which is counted from the first that found nobody, for all together: a
    model that stays away costs only the first of them that time. It is the same where workers themselves say
    that they cannot take it, before the registry does; where it goes on to call them ready, nothing tells
    that one will come, and calls wait for :data:`REFUSED_S` only. A model that no worker had is not waited
    for.

    Args:
        fleet: The workers.
        most_s: Seconds that a model may be away while calls wait; 0: none waits.
        waiting: Tells how many calls wait.
    """

    def __init__(self, fleet: Fleet, most_s: float, waiting: Callable[[], int]) -> None:
        self._fleet = fleet
        self._most_s = most_s
        self._waiting = waiting
        self._since: dict[Wanted, tuple[float, _There]] = {}
        """By what was wanted, since when nobody did it, and the workers that were there all the same, as
        far as was known."""
        self._last: dict[Wanted, float] = {}
        """When a call last found nobody."""

    def until(
        self, wanted: Wanted, now: float, began: float, *, waits_already: bool, refused: bool
    ) -> float | None:
        """Until when a call waits for what nobody does now, which may be over; None: it does not.

        Args:
            wanted: What a worker must have.
            now: The time.
            began: Since when it has found nobody.
            waits_already: Whether it is one of those that wait.
            refused: Whether nothing tells that one will come: all are there, and say that they cannot now.
        """
        if not self._most_s or not self._fleet.knows(wanted.model, now):
            return None
        if not waits_already and self._waiting() >= MOST_WAITING:
            return None
        there = self._there(wanted)
        if there and now - self._last.get(wanted, now) > FORGOTTEN_S:
            self._since.pop(wanted, None)  # what workers said then says nothing now
        self._last[wanted] = now
        since, _ = self._since.setdefault(wanted, (now, there))
        return min(since, began) + (min(self._most_s, REFUSED_S) if refused else self._most_s)

    def answered(self, model: str, member: Member) -> None:
        """A worker has accepted a call for a model."""
        for wanted in [each for each in self._since if each.model == model and each.by(member)]:
            del self._since[wanted]

    def workers_changed(self, now: float) -> None:
        """Forget what workers came or went for, and models that nobody remembers."""
        self._since = {
            wanted: (since, there)
            for wanted, (since, there) in self._since.items()
            if self._fleet.knows(wanted.model, now) and there == self._there(wanted)
        }
        self._last = {wanted: last for wanted, last in self._last.items() if wanted in self._since}

    def _there(self, wanted: Wanted) -> _There:
        holding = self._fleet.holding(wanted.model)
        return frozenset((each, each.epoch) for each in holding if each.usable and wanted.by(each))
