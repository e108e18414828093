"""How calls ended lately, and the ejections that came of it. Pure; time is given in."""

from dataclasses import dataclass, field

FAILURES_TO_EJECT = 5
"""Failed calls in a row after which who failed them is ejected."""

WINDOW_S = 10.0
LEAST_CALLS = 10
"""Of as many calls in about :data:`WINDOW_S`, or more, over half failed: that ejects who failed them, too."""

EJECTION_S = 30.0
"""How long the first ejection lasts; the n-th lasts n times as long."""

FAILURES, MODEL_FAILURES, SLOW = "failures", "model_failures", "slow"
"""Why workers are ejected: the second from one of their models."""


@dataclass(slots=True)
class Tally:
    """The record of the calls that something was asked for: a worker, or one of its models."""

    failures: int = 0
    """Failed calls since the last good one."""

    ejections: int = 0
    """Ejections since it last behaved."""

    ejected_until: float = float("-inf")
    """When the running ejection ends."""

    reason: str = ""
    """Why it was last ejected: "failures" or "slow"."""

    _half: int = 0
    """Number of the half window that the last call ended in."""
    _counts: list[list[int]] = field(default_factory=lambda: [[0, 0], [0, 0]])
    """Good and failed calls of this half window and of the one before it."""

    def succeeded(self, now: float) -> None:
        """Note a good call."""
        self.failures = 0
        self._count(now, failed=False)

    def failed(self, now: float) -> bool:
        """Note a failed call; say whether an ejection is due."""
        self.failures += 1
        self._count(now, failed=True)
        good, bad = (sum(counts) for counts in zip(*self._counts, strict=True))
        return self.failures >= FAILURES_TO_EJECT or (good + bad >= LEAST_CALLS and bad > good)

    def eject(self, now: float, reason: str = FAILURES) -> None:
        """Keep new calls away for a while that grows with each ejection."""
        if now - self.ejected_until > EJECTION_S * (self.ejections + 1):
            self.ejections = 0  # it has behaved for longer than it was last away
        self.ejections += 1
        self.ejected_until = now + EJECTION_S * self.ejections
        self.reason = reason
        self.begin_anew()

    def ejected(self, now: float) -> bool:
        """Whether an ejection is running."""
        return now < self.ejected_until

    def begin_anew(self) -> None:
        """Forget how calls ended: what came of it is done."""
        self.failures = 0
        self._counts = [[0, 0], [0, 0]]

    def _count(self, now: float, *, failed: bool) -> None:
        half = int(now // (WINDOW_S / 2))
        if half != self._half:
            self._counts = [[0, 0], self._counts[0] if half == self._half + 1 else [0, 0]]
            self._half = half
        self._counts[0][failed] += 1
