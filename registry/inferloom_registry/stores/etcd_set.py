"""What the etcd store has heard of what is in etcd. No I/O."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from inferloom.etcd import etcd_pb2 as etcd
from inferloom.v1 import registry_pb2 as pb
from inferloom.v1 import stored_pb2
from inferloom_registry.registration import Registration
from inferloom_registry.stores.etcd_keys import Keys, from_value
from inferloom_registry.stores.protocol import Follower

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """A registration, and the revision of the write that made it so."""

    registration: Registration
    revision: int


class EtcdSet:
    """Folds snapshots and changes into the registrations there are, and tells a follower of each.

    Args:
        keys: Names of the keys.
        registry: Name of the registry that follows.
        follower: Is told.
        on_absent: Called when the registry's own key went.
    """

    def __init__(self, keys: Keys, registry: str, follower: Follower, on_absent: Callable[[], None]) -> None:
        self._keys = keys
        self._registry = registry
        self._follower = follower
        self._on_absent = on_absent
        self._held: dict[str, Held] = {}
        self._present: frozenset[str] = frozenset()

    def get(self, worker_id: str) -> Held | None:
        """What is stored for a worker."""
        return self._held.get(worker_id)

    def missing(self, pairs: Iterable[etcd.KeyValue]) -> list[Registration]:
        """The registrations that a snapshot does not have."""
        there = {self._keys.read(pair.key) for pair in pairs}
        return [held.registration for name, held in self._held.items() if ("workers", name) not in there]

    def replace(self, pairs: Iterable[etcd.KeyValue]) -> None:
        """Take a snapshot for all there is."""
        present: set[str] = set()
        seen: set[str] = set()
        for pair in pairs:
            kind, name = self._keys.read(pair.key)
            if kind == "workers":
                seen.add(name)
                held = self._held.get(name)
                if held is not None and held.revision > pair.mod_revision:
                    del self._held[name]  # etcd was put back to what it was
                self._put(name, pair)
            elif kind == "registries":
                present.add(name)
        for worker_id in self._held.keys() - seen:
            self._follower.removed(self._held.pop(worker_id).registration, pb.LEASE_LOSS_UNKNOWN)
        self._tell_present(frozenset(present))

    def change(self, events: Iterable[etcd.Event]) -> None:
        """Take changes, in order. Those of one revision come together: why something was removed is said by
        another key of the same transaction, which may stand behind."""
        events = list(events)
        reasons: dict[str, pb.LeaseLoss.ValueType] = {}
        for event in events:
            kind, _ = self._keys.read(event.kv.key)
            if kind == "ended" and event.type == etcd.Event.PUT:
                with suppress(DecodeError):
                    end = stored_pb2.StoredEnd.FromString(event.kv.value)
                    reasons[end.lease_id] = end.reason
        for event in events:
            kind, name = self._keys.read(event.kv.key)
            deleted = event.type == etcd.Event.DELETE
            if kind == "registries":
                self._tell_present(self._present - {name} if deleted else self._present | {name})
            elif kind == "workers" and not deleted:
                self._put(name, event.kv)
            elif kind == "workers" and (held := self._held.pop(name, None)) is not None:
                reason = reasons.get(held.registration.lease_id, pb.LEASE_LOSS_UNKNOWN)
                self._follower.removed(held.registration, reason)

    def _put(self, worker_id: str, pair: etcd.KeyValue) -> None:
        held = self._held.get(worker_id)
        if held is not None and held.revision >= pair.mod_revision:
            return
        try:
            registration = from_value(pair.value)
        except DecodeError:
            log.error("what etcd keeps of the worker %r is no registration; it is left alone", worker_id)
            return
        if registration.worker_id != worker_id:
            log.error("what etcd keeps of the worker %r is another's; it is left alone", worker_id)
            return
        self._held[worker_id] = Held(registration, pair.mod_revision)
        self._follower.stored(registration)

    def _tell_present(self, present: frozenset[str]) -> None:
        if present != self._present:
            self._present = present
            self._follower.registries(present)
        if self._registry not in present:
            self._on_absent()
