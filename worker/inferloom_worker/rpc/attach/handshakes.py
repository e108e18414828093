"""How many TLS handshakes may begin in a second."""

PER_S = 100
"""One takes the event loop about a millisecond, with keys of an elliptic curve, so these take a tenth of its
time, and it is the loop of all streams. Whoever is not at its turn waits in the system's queue of 128, which
is empty again before a gateway gives up (3 s)."""


class Handshakes:
    """Counts them. Time is given in, in monotonic seconds."""

    def __init__(self) -> None:
        self._second = float("-inf")
        self._begun = 0

    def begin(self, now: float) -> float:
        """One begins; return how many seconds no other may."""
        if now - self._second >= 1.0:
            self._second, self._begun = now, 0
        self._begun += 1
        return 0.0 if self._begun < PER_S else max(0.0, self._second + 1.0 - now)
