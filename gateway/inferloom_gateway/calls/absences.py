"""For how long models have had nobody to answer, and whether calls wait for them. Pure; time is given in."""

from collections.abc import Callable

from inferloom_gateway.fleet.members import Fleet, Member

MOST_WAITING = 1024
"""Calls that may wait for a worker to come; one more is refused at once."""

_There = frozenset[tuple[Member, int]]


class Absences:
    """A model whose workers are all lost, stopping or starting will mostly have one soon: it was restarted.

    So calls wait for it for a while, which is counted from the first that found nobody, for all together: a
    model that stays away costs only the first of them that time. It is the same where workers themselves say
    that they cannot take it, before the registry does. A model that no worker had is not waited for.

    Args:
        fleet: The workers.
        most_s: Seconds that a model may be away while calls wait; 0: none waits.
        waiting: Tells how many calls wait.
    """

    def __init__(self, fleet: Fleet, most_s: float, waiting: Callable[[], int]) -> None:
        self._fleet = fleet
        self._most_s = most_s
        self._waiting = waiting
        self._since: dict[str, tuple[float, _There]] = {}
        """By model, since when, and the workers that were there all the same, as far as was known."""

    def until(self, model: str, now: float, *, waits_already: bool) -> float | None:
        """Until when a call waits for a model that has nobody now, which may be over; None: it does not.
        ``waits_already``: it is one of those that wait."""
        if not self._most_s or not self._fleet.knows(model, now):
            return None
        if not waits_already and self._waiting() >= MOST_WAITING:
            return None
        since, _ = self._since.setdefault(model, (now, self._there(model)))
        return since + self._most_s

    def answered(self, model: str) -> None:
        """A worker has accepted a call for a model."""
        if self._since:
            self._since.pop(model, None)

    def workers_changed(self, now: float) -> None:
        """Forget models whose workers came or went, and those that nobody remembers."""
        self._since = {
            model: (since, there)
            for model, (since, there) in self._since.items()
            if self._fleet.knows(model, now) and there == self._there(model)
        }

    def _there(self, model: str) -> _There:
        return frozenset((each, each.epoch) for each in self._fleet.holding(model) if each.usable)
