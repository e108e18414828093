"""The workers as the gateway knows them: a pure fold over the registry's Watch stream. Time is given in."""

from dataclasses import dataclass, field
from hashlib import blake2b

from inferloom.v1 import inference_pb2, registry_pb2
from inferloom_gateway.fleet.worker_health import Health

READY = registry_pb2.WORKER_STATE_READY


@dataclass(slots=True, eq=False)
class Member:
    """One worker. It outlives its removal while calls that run on it hold it."""

    id: str
    address: str
    epoch: int = 0
    capacity: int = 1
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
    hash: int = 0
    """64 bits that stand for it in consistent hashing."""

    @property
    def load(self) -> int:
        """Requests that it has, as far as is known."""
        return self.in_flight + self.foreign

    @property
    def usable(self) -> bool:
        """Whether new calls may go to it: it takes requests and is not known to be unreachable."""
        return self.ready and self.health.reachable

    def preferred(self, now: float) -> bool:
        """Whether nothing speaks against it: not ejected, and its lease good or outlived by good calls."""
        if self.health.ejected(now):
            return False
        return self.suspect_since is None or self.health.proven_since(self.suspect_since)


class Fleet:
    """The set of workers and the models they hold.

    Args:
        memory_s: How long a model is remembered after its last worker went. One that was unloaded from a
            worker that goes on is forgotten at once.
    """

    def __init__(self, memory_s: float = 600.0) -> None:
        self._memory_s = memory_s
        self._members: dict[str, Member] = {}
        self._by_model: dict[str, tuple[Member, ...]] = {}
        self._gone: dict[str, float] = {}
        self._unloaded: set[str] = set()
        self.ejections = 0
        """Workers that were ejected, so far."""
        self.settled = False
        """Whether the whole set was heard once; until then a model that is not here may exist after all."""
        self.differing: dict[str, dict[str, list[str]]] = {}
        """Models whose workers do not all compute the same: compute hashes and who has them."""

    def apply(self, change: registry_pb2.WatchResponse, now: float) -> list[Member]:
        """Fold one change in; return the members that left the set.

        A settling snapshot removes nobody: who is missing from it may only not have come back yet.
        """
        match change.WhichOneof("change"):
            case "snapshot":
                left = self._snapshot(change.snapshot, now)
            case "put":
                left = self._put(change.put, now)
            case "removed":
                left = self._remove(change.removed)
            case "load":
                self._load(change.load)
                return []  # routes do not depend on load
            case _:
                return []
        self._index(now)
        return left

    def members(self) -> list[Member]:
        """Every worker."""
        return list(self._members.values())

    def holding(self, model: str) -> tuple[Member, ...]:
        """The workers that hold a model, usable or not."""
        return self._by_model.get(model, ())

    def knows(self, model: str, now: float) -> bool:
        """Whether a worker holds the model, or did not long ago."""
        if model in self._by_model:
            return True
        gone = self._gone.get(model)
        return gone is not None and now - gone <= self._memory_s

    def may_come(self, model: str) -> bool:
        """Whether a worker may be loading the model: it says so, or it starts and does not say what."""
        return any(
            model in m.loading or (m.starting and not m.loading and not m.models)
            for m in self._members.values()
        )

    def models(self) -> list[inference_pb2.Model]:
        """The models that can be called now, in order of id."""
        return [
            next(m for m in members if m.usable).models[name]
            for name, members in sorted(self._by_model.items())
            if any(m.usable for m in members)
        ]

    def serves_any(self) -> bool:
        """Whether any model can be called now."""
        return any(m.usable and m.models for m in self._members.values())

    def eject(self, member: Member, now: float) -> None:
        """Eject a worker, unless a tenth of the workers (or one) is ejected already."""
        others = sum(m.health.ejected(now) for m in self._members.values() if m is not member)
        if others < max(1, len(self._members) // 10):
            member.health.eject(now)
            self.ejections += 1

    def _snapshot(self, snapshot: registry_pb2.Snapshot, now: float) -> list[Member]:
        left = [m for entry in snapshot.workers for m in self._put(entry, now)]
        if not snapshot.settling:
            self.settled = True
            listed = {entry.worker.id for entry in snapshot.workers}
            left += [self._members.pop(name) for name in self._members.keys() - listed]
        return left

    def _put(self, entry: registry_pb2.RegisteredWorker, now: float) -> list[Member]:
        worker = entry.worker
        left: list[Member] = []
        member = self._members.get(worker.id)
        replaced = member is not None and (
            member.address != worker.address or (member.epoch != entry.epoch and not member.health.reachable)
        )
        if member is None or replaced:
            left = [member] if member else []
            member = Member(worker.id, worker.address, hash=_hash(worker.id))
            self._members[worker.id] = member
        models = {model.id: model for model in worker.models}
        if member.epoch == entry.epoch and worker.state == READY:
            self._unloaded |= member.models.keys() - models.keys()
        ready = worker.state == READY
        if member.epoch != entry.epoch or member.ready != ready or member.models.keys() != models.keys():
            member.health.refusing.clear()  # what it said before is no longer so
        member.epoch = entry.epoch
        member.capacity = max(1, worker.capacity)
        member.ready = ready
        member.models = models
        member.loading = frozenset(worker.loading)
        member.starting = worker.state == registry_pb2.WORKER_STATE_STARTING
        suspect = entry.lease_state == registry_pb2.LEASE_STATE_SUSPECT
        if not suspect:
            member.suspect_since = None
        elif member.suspect_since is None:
            member.suspect_since = now
        if entry.HasField("load"):
            _note_load(member, entry.load)
        return left

    def _remove(self, removed: registry_pb2.WorkerRemoved) -> list[Member]:
        member = self._members.get(removed.worker_id)
        if member is None or member.epoch > removed.epoch:
            return []
        member.expired = removed.reason == registry_pb2.LEASE_LOSS_EXPIRED
        return [self._members.pop(removed.worker_id)]

    def _load(self, change: registry_pb2.WorkerLoad) -> None:
        member = self._members.get(change.worker_id)
        if member is not None and member.epoch == change.epoch:
            _note_load(member, change.load)

    def _index(self, now: float) -> None:
        by_model: dict[str, list[Member]] = {}
        for member in self._members.values():
            for name in member.models:
                by_model.setdefault(name, []).append(member)
        for name in self._by_model.keys() - by_model.keys() - self._unloaded:
            self._gone[name] = now
        self._unloaded.clear()
        self._gone = {
            name: gone
            for name, gone in self._gone.items()
            if name not in by_model and now - gone <= self._memory_s
        }
        self._by_model = {name: tuple(members) for name, members in by_model.items()}
        self.differing = {name: kinds for name in by_model if len(kinds := self._kinds(name)) > 1}

    def _kinds(self, model: str) -> dict[str, list[str]]:
        kinds: dict[str, list[str]] = {}
        for member in self._by_model[model]:
            if compute_hash := member.models[model].compute_hash:
                kinds.setdefault(compute_hash, []).append(member.id)
        return kinds


def _note_load(member: Member, load: registry_pb2.Load) -> None:
    member.foreign = max(0, load.running + load.waiting - member.in_flight)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
