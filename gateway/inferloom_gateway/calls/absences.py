"""For how long models have had nobody to answer, and whether calls wait for them. Pure; time is given in."""

from collections.abc import Callable

from inferloom_gateway.fleet.members import Fleet

MOST_WAITING = 1024
"""Calls that may wait for a worker to come; one more is refused at once."""


class Absences:
    """A model whose workers are all lost, stopping or starting will mostly have one soon: it was restarted.

    So calls wait for it for a while, which is counted from the first that found nobody, for all together: a
    model that stays away costs only the first of them that time. One that no worker had is not waited for.

    Args:
        fleet: The workers.
        most_s: Seconds that a model may be away while calls wait; 0: none waits.
        waiting: Tells how many calls wait.
    """

    def __init__(self, fleet: Fleet, most_s: float, waiting: Callable[[], int]) -> None:
        self._fleet = fleet
        self._most_s = most_s
        self._waiting = waiting
        self._since: dict[str, float] = {}

    def until(self, model: str, now: float, *, waits_already: bool) -> float | None:
        """Until when a call waits for a model that has nobody now, which may be over; None: it does not.
        ``waits_already``: it is one of those that wait."""
        if not self._most_s or not self._fleet.knows(model, now):
            return None
        if not waits_already and self._waiting() >= MOST_WAITING:
            return None
        return self._since.setdefault(model, now) + self._most_s

    def answered(self, model: str) -> None:
        """A worker has accepted a call for a model."""
        if self._since:
            self._since.pop(model, None)

    def workers_changed(self, now: float) -> None:
        """Forget models that have somebody, and those that nobody remembers."""
        self._since = {
            model: since
            for model, since in self._since.items()
            if self._fleet.knows(model, now) and not any(each.usable for each in self._fleet.holding(model))
        }
