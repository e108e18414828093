"""The workers as the gateway knows them: a pure fold over the registry's Watch stream. Time is given in."""

from collections import Counter
from collections.abc import Callable, Iterable

from inferloom.v1 import inference_pb2, registry_pb2
from inferloom_gateway.fleet.ask import Wanted, honoured
from inferloom_gateway.fleet.group import Group
from inferloom_gateway.fleet.member import Member as Member
from inferloom_gateway.fleet.member import definition, hash_of
from inferloom_gateway.fleet.past import Past
from inferloom_gateway.fleet.slow_workers import INTERVAL_S, look
from inferloom_gateway.fleet.tally import FAILURES, MODEL_FAILURES, SLOW

READY = registry_pb2.WORKER_STATE_READY


class Fleet:
    """The set of workers and the models they hold.

    Args:
        memory_s: How long a model is remembered after its last worker went. One that was unloaded from a
            worker that goes on is forgotten at once.
    """

    def __init__(self, memory_s: float = 600.0) -> None:
        self._memory_s = memory_s
        self._members: dict[str, Member] = {}
        self._by_model: dict[str, Group] = {}
        self._gone: dict[str, float] = {}
        self._unloaded: set[str] = set()
        self._past = Past(memory_s)
        self._looked = float("-inf")
        self._listeners: list[Callable[[], None]] = []
        self.ejections: Counter[str] = Counter()
        """Ejections so far, by their reason."""
        self.uneven: dict[str, frozenset[str]] = {}
        """Models whose workers do not all honour the same parameters: those that only some honour, or did
        that have gone."""
        self.common: dict[str, frozenset[inference_pb2.Task.ValueType]] = {}
        """What all workers of a model can do with it."""
        self.settled = False
        """Whether the whole set was heard once; until then a model that is not here may exist after all."""
        self.followed = True
        """Whether a registry tells of changes now."""
        self.frozen = ""
        """Why the registry cannot change the set now; empty: it can."""
        self.differing: dict[str, dict[str, list[str]]] = {}
        """Models whose workers do not all compute the same, whatever it is computed with: hashes and who has
        them."""

    def apply(self, change: registry_pb2.WatchResponse, now: float) -> list[Member]:
        """Fold one change in; return the members that left the set.

        A settling snapshot removes nobody: who is missing from it may only not have come back yet. Nor does
        one of a registry that has lost its store: another may have told of who came since.
        """
        match change.WhichOneof("change"):
            case "snapshot":
                left = self._snapshot(change.snapshot, now)
            case "put":
                left = self._put(change.put, now)
            case "removed":
                left = self._remove(change.removed)
            case "load":
                self._load(change.load, now)
                return []  # routes do not depend on load
            case _:
                return []
        self._index(now)
        for tell in self._listeners:
            tell()
        return left

    def on_change(self, tell: Callable[[], None]) -> None:
        """Tell of each change of more than load."""
        self._listeners.append(tell)

    def members(self) -> list[Member]:
        """Every worker."""
        return list(self._members.values())

    def member(self, worker_id: str) -> Member | None:
        """The worker of that name."""
        return self._members.get(worker_id)

    def holding(self, model: str) -> tuple[Member, ...]:
        """The workers that hold a model, usable or not."""
        group = self._by_model.get(model)
        return group.members if group is not None else ()

    def group(self, model: str) -> Group | None:
        """The same as routing sees them."""
        return self._by_model.get(model)

    def knows(self, model: str, now: float) -> bool:
        """Whether a worker holds the model, or did not long ago."""
        if model in self._by_model:
            return True
        gone = self._gone.get(model)
        return gone is not None and now - gone <= self._memory_s

    def remembers(self, wanted: Wanted, now: float) -> bool:
        """Whether a worker that has gone had all of it not long ago."""
        return self._past.had(wanted, now)

    def may_come(self, model: str) -> bool:
        """Whether a worker may be loading the model: it says so, or it starts and does not say what."""
        return any(
            model in m.loading or (m.starting and not m.loading and not m.models)
            for m in self._members.values()
        )

    def models(self) -> list[inference_pb2.Model]:
        """The models that can be called now, in order of id."""
        return [
            next(m for m in group.members if m.usable).models[name]
            for name, group in sorted(self._by_model.items())
            if any(m.usable for m in group.members)
        ]

    def serves_any(self) -> bool:
        """Whether any model can be called now."""
        return any(m.usable and m.models for m in self._members.values())

    def eject(self, member: Member, now: float, reason: str = FAILURES) -> bool:
        """Eject a worker; whether it was.

        It stays if it is ejected already, since what fails now was asked before. And it stays if a tenth of
        the workers (or one) is ejected, from all of their models or from one, or if of the workers of one of
        its models fewer than half would be left: where most do badly, it is not for the worker's sake.
        """
        if member.health.ejected(now) or not self._may_go(member, member.models, now):
            return False
        member.health.eject(now, reason)
        for pace in member.paces.values():
            pace.forget()
        self.ejections[reason] += 1
        return True

    def eject_model(self, member: Member, model: str, now: float) -> bool:
        """Eject a worker from one model, and from its other names, because that fails there; whether it was.
        What keeps a worker keeps it for a model."""
        own = member.own_name(model)
        names = [name for name in member.models if member.own_name(name) == own]
        if member.ejected(model, now) or not self._may_go(member, names, now):
            return False
        member.health.eject_model(now, own)
        self.ejections[MODEL_FAILURES] += 1
        return True

    def compare(self, now: float) -> list[Member]:
        """Compare how fast the workers are, at most once a second; return those that were ejected for it."""
        if now - self._looked < INTERVAL_S:
            return []
        since, self._looked = max(self._looked, now - 60.0), now
        return [m for m in look(self._members.values(), now, since) if self.eject(m, now, SLOW)]

    def _may_go(self, member: Member, models: Iterable[str], now: float) -> bool:
        out = sum(m.health.away(now) for m in self._members.values() if m is not member)
        return out < max(1, len(self._members) // 10) and all(
            self._spares(member, model, now) for model in models
        )

    def _spares(self, member: Member, model: str, now: float) -> bool:
        usable = [m for m in self.holding(model) if m.usable]
        left = sum(m is not member and not m.ejected(model, now) for m in usable)
        return len(usable) < 2 or 2 * left >= len(usable)

    def _snapshot(self, snapshot: registry_pb2.Snapshot, now: float) -> list[Member]:
        self.frozen = snapshot.frozen
        left: list[Member] = []
        for entry in snapshot.workers:
            known = self._members.get(entry.worker.id)
            if not (self.frozen and known is not None and known.epoch > entry.epoch):
                left += self._put(entry, now)
        if not snapshot.settling:
            self.settled = True
        if not snapshot.settling and not self.frozen:
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
            member = Member(worker.id, worker.address, hash=hash_of(worker.id))
            self._members[worker.id] = member
        models = {model.id: model for model in worker.models}
        if member.epoch == entry.epoch and worker.state == READY:
            self._unloaded |= member.models.keys() - models.keys() - set(worker.loading)
        ready = worker.state == READY
        if member.epoch != entry.epoch or member.ready != ready or member.models.keys() != models.keys():
            member.health.refusing.clear()  # what it said before is no longer so
        member.health.keep(card.alias_of or name for name, card in models.items())
        if ready and not member.ready:
            # Who came before this gateway did is not new.
            member.fresh_since = now if self.settled else float("-inf")
        member.zone = worker.labels.get("zone", "")
        member.version, member.state = worker.version, worker.state
        member.link_address = worker.link_address
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
            member.take_load(entry.load, now, direct=False)
        else:
            member.take_load(registry_pb2.Load(), now, direct=False)  # nobody says any more
        return left

    def _remove(self, removed: registry_pb2.WorkerRemoved) -> list[Member]:
        member = self._members.get(removed.worker_id)
        if member is None or member.epoch > removed.epoch:
            return []
        member.expired = removed.reason == registry_pb2.LEASE_LOSS_EXPIRED
        return [self._members.pop(removed.worker_id)]

    def _load(self, change: registry_pb2.WorkerLoad, now: float) -> None:
        member = self._members.get(change.worker_id)
        if member is not None and member.epoch == change.epoch:
            member.take_load(change.load, now, direct=False)

    def _index(self, now: float) -> None:
        by_model: dict[str, list[Member]] = {}
        for member in self._members.values():
            for name in member.models:
                by_model.setdefault(name, []).append(member)
        for name in self._by_model.keys() - by_model.keys() - self._unloaded:
            self._gone[name] = now
        self._past.note(self._members.values(), self._unloaded, now)
        self._unloaded.clear()
        self._gone = {
            name: gone
            for name, gone in self._gone.items()
            if name not in by_model and now - gone <= self._memory_s
        }
        before = self._by_model
        groups = {group.members: group for group in before.values() if not group.moved()}
        self._by_model = {}
        for name, members in by_model.items():
            whole = tuple(members)
            self._by_model[name] = groups.setdefault(whole, Group(whole))
        used = set(self._by_model.values())
        for name, group in self._by_model.items():
            if (former := before.get(name)) is not None and former not in used:
                group.take_ring(former)
        self.differing = {name: kinds for name in by_model if len(kinds := self._kinds(name)) > 1}
        self.uneven = {name: names for name in by_model if (names := self._unevenness(name))}
        self.common = {name: self._common(name) for name in by_model}

    def _kinds(self, model: str) -> dict[str, list[str]]:
        kinds: dict[str, list[str]] = {}
        for member in self.holding(model):
            if told := definition(member.models[model]):
                kinds.setdefault(told, []).append(member.id)
        return kinds

    def _common(self, model: str) -> frozenset[inference_pb2.Task.ValueType]:
        return frozenset.intersection(*(frozenset(each.models[model].tasks) for each in self.holding(model)))

    def _unevenness(self, model: str) -> frozenset[str]:
        kinds = [honoured(member.models[model]) for member in self.holding(model)]
        past = map(honoured, self._past.cards(model))
        return frozenset.union(*kinds, *past) - frozenset.intersection(*kinds)
