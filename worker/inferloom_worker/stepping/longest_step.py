"""The longest that a step takes, as measured of late. Pure.

Who waits for an engine tells a stall from a long step by it. So it is the truth about rare steps, and not an
average: the longest of the current minute and of the one before, so that it forgets within two.
"""

WINDOW_S = 60.0


class LongestStep:
    """Takes in steps; times are of one monotonic clock, in seconds."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window = window_s
        self._began: float | None = None
        self._now = self._before = 0.0

    def observe(self, now: float, seconds: float) -> None:
        """Take in a step that ended now."""
        if self._began is None:
            self._began = now
        elif now - self._began >= self._window:
            recent = now - self._began < 2 * self._window
            self._before, self._now, self._began = self._now if recent else 0.0, 0.0, now
        self._now = max(self._now, seconds)

    @property
    def seconds(self) -> float:
        """The longest; 0 before the first."""
        return max(self._now, self._before)


def worth_telling(told: float, measured: float) -> bool:
    """Whether ``measured`` differs enough from what was told to tell it: it grew by more than a quarter, or
    fell to less than half."""
    return measured > 1.25 * told or measured < 0.5 * told
