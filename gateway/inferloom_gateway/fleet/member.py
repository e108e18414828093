"""One worker as the gateway knows it."""

from dataclasses import dataclass, field
from hashlib import blake2b

from inferloom.v1 import inference_pb2, registry_pb2
from inferloom_gateway.fleet.pace import Pace
from inferloom_gateway.fleet.worker_health import Health

SLOW_START_S = 3.0
"""How long a worker that came, or came back from an ejection, takes to get its full share."""

NEW_WEIGHT = 0.5
"""The part of its share that a newcomer begins with. With less, what comes in a moment goes to the others."""

RETURNING_WEIGHT = 0.1
"""The same of one that comes back from an ejection: it has to show that it works."""

LINK_LOAD_S = 10.0
"""How long the load that a worker told the gateway itself counts for more than what the registry tells."""


@dataclass(slots=True, eq=False)
class Member:
    """One worker. It outlives its removal while calls that run on it hold it."""

    id: str
    address: str
    link_address: str = ""
    """Where it takes connections of the link's own; empty: nowhere."""
    epoch: int = 0
    capacity: int = 1
    zone: str = ""
    """Where it is; empty: it does not say."""
    version: str = ""
    """Software version."""
    state: registry_pb2.WorkerState.ValueType = registry_pb2.WORKER_STATE_UNSPECIFIED
    """What it accepts, in the registry's words."""
    ready: bool = False
    suspect_since: float | None = None
    models: dict[str, inference_pb2.Model] = field(default_factory=dict)
    loading: frozenset[str] = frozenset()
    """Models that it will hold soon."""
    starting: bool = False
    """Whether it loads what it was started with."""
    expired: bool = False
    """Whether it left the set because its lease was not renewed."""
    health: Health = field(default_factory=Health)
    in_flight: int = 0
    """Calls of this gateway that run on it."""
    foreign: int = 0
    """Requests that the worker said it has beyond those of this gateway."""
    said: registry_pb2.Load = field(default_factory=registry_pb2.Load)
    """How busy it last said it was."""
    hash: int = 0
    """64 bits that stand for it in consistent hashing."""
    fresh_since: float = float("-inf")
    """When it began to take requests, if others did so before it."""
    paces: dict[str, Pace] = field(default_factory=dict)
    """How fast it is with each model that it was lately asked for."""
    _told: float = float("-inf")
    """When it last told its load itself."""

    @property
    def load(self) -> int:
        """Requests that it has, as far as is known."""
        return self.in_flight + self.foreign

    @property
    def usable(self) -> bool:
        """Whether new calls may go to it: it takes requests and is not known to be unreachable."""
        return self.ready and self.health.reachable

    def own_name(self, model: str) -> str:
        """What it calls the model that one of this name is: itself, where that is no other name of one."""
        card = self.models.get(model)
        return model if card is None else card.alias_of or model

    def ejected(self, model: str, now: float) -> bool:
        """Whether it is ejected from a model, or from all."""
        health = self.health
        if now < health.own.ejected_until:
            return True
        return now < health.models_until and now < health.model_ejected_until(self.own_name(model))

    def failing(self, now: float) -> dict[str, float]:
        """Models that it holds and is ejected from alone, because they fail, with when that ends."""
        if now >= self.health.models_until:
            return {}
        ends = {name: self.health.model_ejected_until(self.own_name(name)) for name in self.models}
        return {name: end for name, end in ends.items() if now < end}

    def out(self, now: float) -> bool:
        """Whether it is ejected from all that it holds."""
        return self.health.ejected(now) or 0 < len(self.models) == len(self.failing(now))

    def preferred(self, model: str, now: float) -> bool:
        """Whether nothing speaks against it for a model: not ejected, and its lease good or outlived by good
        calls."""
        if self.ejected(model, now):
            return False
        return self.suspect_since is None or self.health.proven_since(self.suspect_since)

    def weight(self, model: str, now: float) -> float:
        """The part of its share of a model that it gets, above 0 and at most 1: less in its first seconds and
        in those after an ejection (slow start), and less if it is slower than its peers."""
        health = self.health
        least, since, back = NEW_WEIGHT, self.fresh_since, health.own.ejected_until
        if now < health.models_until + SLOW_START_S:
            back = max(back, health.model_ejected_until(self.own_name(model)))
        if back > since:
            least, since = RETURNING_WEIGHT, back
        ramp = max(least, min(1.0, (now - since) / SLOW_START_S))
        return ramp / health.slowness

    def pace(self, model: str) -> Pace:
        """How fast it is with a model."""
        pace = self.paces.get(model)
        if pace is None:
            pace = self.paces[model] = Pace()
        return pace

    def take_load(self, load: registry_pb2.Load, now: float, *, direct: bool = True) -> None:
        """Note how busy the worker is; ``direct``: it told so itself, which is newer than what the registry
        tells."""
        if direct:
            self._told = now
        elif now - self._told < LINK_LOAD_S:
            return
        self.said.CopyFrom(load)  # what it came in is large, and goes
        self.foreign = max(0, load.running + load.waiting - self.in_flight)


def definition(card: inference_pb2.Model) -> str:
    """Which model it is, whatever computes it. A worker of before that hash has no other than for both, and
    it was made as this one is now. Empty: it tells nothing."""
    return card.definition_hash or card.compute_hash


def hash_of(text: str) -> int:
    """64 bits that stand for a text."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
