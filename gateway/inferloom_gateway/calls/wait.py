"""Until when one call waits for a worker that it may have. Pure; time is given in."""

import math

from inferloom_gateway.calls.absences import Absences
from inferloom_gateway.fleet.ask import Wanted
from inferloom_gateway.fleet.members import Fleet

RESUMING_S = 10.0
"""How long a generation waits for a worker that goes on with it."""

LOADING_S = 60.0
"""How long it does while a worker says that it is loading the model."""


class Wait:
    """One call's.

    While a worker is there that it may have in its turn, it waits for as long as that takes. While nobody is
    there, it waits until a moment that is found anew once somebody has been.

    Args:
        fleet: The workers.
        absences: Until when calls that have not begun wait for a worker to come.
        model: What the call asks.
    """

    def __init__(self, fleet: Fleet, absences: Absences, model: str) -> None:
        self.until = math.inf
        """When a call that waits gives up, which is still to come."""
        self._fleet = fleet
        self._absences = absences
        self._model = model
        self._since: float | None = None
        """When it found that nobody is there. None: somebody is."""
        self._loading_at = -math.inf
        """When a worker last was loading the model meanwhile."""
        self._refused_since: float | None = None
        """When one that is there first would not go on with it."""

    def found(self) -> None:
        """Somebody is there: it has a worker, or may have one in its turn."""
        self.until, self._since, self._loading_at = math.inf, None, -math.inf

    def ended(self) -> None:
        """It has come on."""
        self.found()
        self._refused_since = None

    def resumes(self, now: float) -> bool:
        """Whether it waits where nobody is there that can go on with what it has begun."""
        if self._since is None:
            self._since = now
        self._refused_since = None
        if self._fleet.may_come(self._model):
            self._loading_at = now
            self.until = self._since + max(LOADING_S, RESUMING_S)
        else:
            self.until = max(self._since, self._loading_at) + RESUMING_S
        return now < self.until

    def asks_again(self, now: float) -> bool:
        """Whether what has begun asks a worker once more that would not go on with it just now."""
        if self._refused_since is None:
            self._refused_since = now
        return now < self._refused_since + RESUMING_S

    def begins(self, wanted: Wanted, now: float, again_at: float | None = None) -> bool:
        """Whether it waits where nobody is there that has what is wanted, and it has not begun. ``again_at``
        is when it may ask one again, where all that could answer are there and say that they cannot now."""
        waits_already = self._since is not None
        if self._since is None:
            self._since = now
        if self._fleet.may_come(self._model) or not self._fleet.followed:
            again_at = None  # another may be there sooner, or none be there any more
        until = self._absences.until(
            wanted, now, self._since, waits_already=waits_already, refused=again_at is not None
        )
        if until is None:
            return False
        self.until = until
        return max(now, again_at or now) < until
