"""When a service that ended is started again."""

from collections.abc import Iterator

from inferloom_mesh.backoff import backoff

WINDOW_S = 30.0
"""Failed starts are counted over this time, and a service that ran as long has recovered."""

MOST_FAILED_STARTS = 3
"""Failed starts within the window after which another try is pointless."""


class RestartPolicy:
    """Decides for one service; times are seconds of any one monotonic clock."""

    def __init__(self) -> None:
        self._failed_starts: list[float] = []
        self._waits: Iterator[float] = backoff()

    def ended(self, *, started: float, ready: float | None, now: float) -> float | None:
        """Take note of an end and return how long to wait before the next start, in seconds.

        ``ready`` is when the service became ready, None if it never did. Returns None when it should
        not be started again.
        """
        if ready is not None and now - ready >= WINDOW_S:
            self._waits = backoff()
        if ready is None:
            self._failed_starts = [at for at in self._failed_starts if started - at < WINDOW_S] + [started]
            if len(self._failed_starts) >= MOST_FAILED_STARTS:
                return None
        return next(self._waits)
