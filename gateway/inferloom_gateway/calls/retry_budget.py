"""How many calls may be tried again. Pure; time is given in."""

WINDOW_S = 10.0
SHARE = 0.2
MINIMUM = 3


class RetryBudget:
    """Allows extra attempts for at most a fifth of recent requests, and always for a few.

    Without it, workers that fail under load would be sent every request several times. Recent means the
    current window of 10 s and the one before it.
    """

    def __init__(self) -> None:
        self._window = 0
        self._requests = [0, 0]
        self._retries = [0, 0]

    def request(self, now: float) -> None:
        """Count a new request."""
        self._roll(now)
        self._requests[0] += 1

    def take(self, now: float) -> bool:
        """Take one extra attempt, if there is one left."""
        self._roll(now)
        if sum(self._retries) >= max(MINIMUM, SHARE * sum(self._requests)):
            return False
        self._retries[0] += 1
        return True

    def _roll(self, now: float) -> None:
        window = int(now // WINDOW_S)
        if window == self._window:
            return
        adjacent = window == self._window + 1
        self._window = window
        self._requests = [0, self._requests[0] if adjacent else 0]
        self._retries = [0, self._retries[0] if adjacent else 0]
