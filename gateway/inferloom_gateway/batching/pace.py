"""How many lines run at once: as many as are allowed, and fewer while the mesh says 'not now'. Pure."""

import math

_LONGEST_S = 30.0
_FIRST_S = 0.5


class Pace:
    """Halves what runs at once when the mesh has no room, and comes back line by line.

    Moments are seconds on any one clock.

    Args:
        most: Most lines at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._refusals = 0
        self._until = 0.0
        self.running = 0

    @property
    def limit(self) -> int:
        """How many may run at once."""
        return max(1, math.floor(self._limit))

    def wait(self, now: float) -> float:
        """Seconds until a line may begin, as far as is known: 0, now; infinity, once another has ended."""
        if now < self._until:
            return self._until - now
        return 0.0 if self.running < self.limit else math.inf

    def good(self) -> None:
        """Hear that the mesh took a line."""
        self._refusals = 0
        self._limit = min(self._most, self._limit + 1 / self._limit)

    def refused(self, now: float, retry_after: float | None) -> None:
        """Hear that it had no room for one.

        Refusals of lines that ran at the same time count once.
        """
        if now < self._until:
            return
        self._limit = max(1.0, self._limit / 2)
        pause = min(_LONGEST_S, _FIRST_S * 2.0**self._refusals)
        self._refusals = min(self._refusals + 1, 16)
        self._until = now + max(pause, retry_after or 0.0)
