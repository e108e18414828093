"""What a worker's own calls say about it, and about each of its models. Pure; time is given in."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from inferloom_gateway.fleet.tally import FAILURES, FAILURES_TO_EJECT, Tally


class Due(NamedTuple):
    """What is to be ejected for a failed call."""

    worker: bool
    model: bool
    """The worker, but for this model only."""


@dataclass(slots=True)
class Health:
    """The record of one worker's calls.

    What fails by the worker (its connection, its process) counts against the worker, and what its model
    answers itself against the model there: its others may be fine. But where all calls in a row failed, and
    not of one model alone, it is the worker that fails them.
    """

    own: Tally = field(default_factory=Tally)
    """Of the worker: its ejections are from all of its models. Its failures in a row are of both kinds."""

    models: dict[str, Tally] = field(default_factory=dict)
    """Of its models, under their own names."""

    models_until: float = float("-inf")
    """When the last ejection from one model ends."""

    reachable: bool = True
    """False from a call that the transport lost until the worker answers a probe."""

    last_good: float = float("-inf")
    """When a call last succeeded."""

    _failing: set[str | None] = field(default_factory=set)
    """The models whose own failures are among those since the last good call; None: the worker's are."""

    slowness: float = 1.0
    """How many times slower it is than its peers, where that is much; else 1."""

    slow_s: float = 0.0
    """How long it has been so slow that it is to be ejected if it stays so."""

    refusing: dict[str, float] = field(default_factory=dict)
    """Models that the worker would not take a request for, and until when it is left alone for them."""

    full: set[str] = field(default_factory=set)
    """Those of them that it serves, and has no room for."""

    def succeeded(self, now: float, model: str) -> None:
        """Note a call for a model that the worker answered."""
        self._failing.clear()
        self.last_good = now
        self.own.succeeded(now)
        self._of(model).succeeded(now)

    def failed(self, now: float) -> bool:
        """Note a call that failed through the worker's fault; say whether ejecting it is due."""
        self._failing.add(None)
        return self.own.failed(now)

    def model_failed(self, now: float, model: str) -> Due:
        """Note a call that a model failed itself."""
        self._failing.add(model)
        self.own.failures += 1
        worker = self.own.failures >= FAILURES_TO_EJECT and len(self._failing) > 1
        return Due(worker, self._of(model).failed(now))

    def eject(self, now: float, reason: str = FAILURES) -> None:
        """Keep new calls away for a while that grows with each ejection."""
        self.own.eject(now, reason)
        self.slowness, self.slow_s = 1.0, 0.0
        self._failing.clear()
        for tally in self.models.values():
            tally.begin_anew()

    def eject_model(self, now: float, model: str) -> None:
        """The same for one model."""
        tally = self._of(model)
        tally.eject(now)
        self.models_until = max(self.models_until, tally.ejected_until)
        self.own.failures = 0
        self._failing.clear()

    def ejected(self, now: float) -> bool:
        """Whether an ejection from all of its models is running."""
        return self.own.ejected(now)

    def away(self, now: float) -> bool:
        """Whether it is ejected from any of its models."""
        return self.own.ejected(now) or now < self.models_until

    def model_ejected_until(self, model: str) -> float:
        """When an ejection from this model ends, or ended."""
        tally = self.models.get(model)
        return float("-inf") if tally is None else tally.ejected_until

    def keep(self, models: Iterable[str]) -> None:
        """Forget models that it has no more."""
        kept = set(models)
        self.models = {model: tally for model, tally in self.models.items() if model in kept}
        ends = (tally.ejected_until for tally in self.models.values())
        self.models_until = max(ends, default=float("-inf"))

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
        return self.own.failures == 0 and self.last_good >= moment

    def _of(self, model: str) -> Tally:
        tally = self.models.get(model)
        if tally is None:
            tally = self.models[model] = Tally()
        return tally
