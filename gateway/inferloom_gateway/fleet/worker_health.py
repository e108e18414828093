"""What a worker's own calls say about it. Pure; time is given in."""

from dataclasses import dataclass, field

FAILURES_TO_EJECT = 5
"""Failed calls in a row after which a worker is ejected."""

WINDOW_S = 10.0
LEAST_CALLS = 10
"""Of as many calls in about :data:`WINDOW_S`, or more, over half failed: a worker is ejected then, too."""

EJECTION_S = 30.0
"""How long the first ejection lasts; the n-th lasts n times as long."""

FAILURES, SLOW = "failures", "slow"
"""Why workers are ejected."""


@dataclass(slots=True)
class Health:
    """The record of one worker's calls."""

    reachable: bool = True
    """False from a call that the transport lost until the worker answers a probe."""

    failures: int = 0
    """Failed calls since the last good one."""

    ejections: int = 0
    """Ejections since the worker last behaved."""

    ejected_until: float = float("-inf")
    """When the running ejection ends."""

    last_good: float = float("-inf")
    """When a call last succeeded."""

    _half: int = 0
    """Number of the half window that the last call ended in."""
    _counts: list[list[int]] = field(default_factory=lambda: [[0, 0], [0, 0]])
    """Good and failed calls of this half window and of the one before it."""

    slowness: float = 1.0
    """How many times slower it is than its peers, where that is much; else 1."""

    slow_s: float = 0.0
    """How long it has been so slow that it is to be ejected if it stays so."""

    reason: str = ""
    """Why it was last ejected: "failures" or "slow"."""

    refusing: dict[str, float] = field(default_factory=dict)
    """Models that the worker would not take a request for, and until when it is left alone for them."""

    full: set[str] = field(default_factory=set)
    """Those of them that it serves, and has no room for."""

    def succeeded(self, now: float) -> None:
        """Note a call that the worker answered."""
        self.failures = 0
        self.last_good = now
        self._count(now, failed=False)

    def failed(self, now: float) -> bool:
        """Note a call that failed through the worker's fault; say whether ejecting it is due."""
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
        self.slowness, self.slow_s = 1.0, 0.0
        self.failures = 0
        self._counts = [[0, 0], [0, 0]]

    def ejected(self, now: float) -> bool:
        """Whether an ejection is running."""
        return now < self.ejected_until

    def not_now(self, model: str, until: float, *, full: bool = False) -> None:
        """Note that the worker wants no more requests for a model for a while; ``full``: it has no room."""
        self.refusing[model] = until
        if full:
            self.full.add(model)
        else:
            self.full.discard(model)

    def accepted(self, model: str) -> None:
        """Note that the worker took a request for a model after all."""
        self.refusing.pop(model, None)

    def full_until(self, model: str, now: float) -> float | None:
        """Until when the worker has no room for a model, as far as is known; None: it may have some."""
        return self.refusing[model] if self.refuses(model, now) and model in self.full else None

    def unable_until(self, model: str, now: float) -> float | None:
        """Until when the worker is left alone for a model because it said that it cannot serve it, whatever
        room it has; None: it did not."""
        return self.refusing[model] if self.refuses(model, now) and model not in self.full else None

    def refuses(self, model: str, now: float) -> bool:
        """Whether the worker is left alone for a model."""
        until = self.refusing.get(model)
        if until is None:
            return False
        if now >= until:
            del self.refusing[model]
            return False
        return True

    def proven_since(self, moment: float) -> bool:
        """Whether the last call was good and no older than ``moment``."""
        return self.failures == 0 and self.last_good >= moment

    def _count(self, now: float, *, failed: bool) -> None:
        half = int(now // (WINDOW_S / 2))
        if half != self._half:
            self._counts = [[0, 0], self._counts[0] if half == self._half + 1 else [0, 0]]
            self._half = half
        self._counts[0][failed] += 1
