"""What the etcd store's keys and values are.

=========================  ==================================================================================
key, behind the prefix     value
=========================  ==================================================================================
``workers/ID``             the worker's registration; written and deleted by transactions that compare
``registries/NAME``        where a registry listens, for people; goes with the registry's lease
``ended/NAME``             the last registration that a registry removed and why; goes with its lease too
``lineage``                written once: an etcd that has another, or none, has lost what there was
=========================  ==================================================================================
"""

from dataclasses import dataclass

from inferloom.v1 import registry_pb2, stored_pb2
from inferloom_registry.registration import Registration


@dataclass(frozen=True, slots=True)
class Keys:
    """Names of keys below one prefix, which ends with a slash."""

    prefix: bytes

    def worker(self, worker_id: str) -> bytes:
        """Where a worker's registration is."""
        return self.prefix + b"workers/" + worker_id.encode()

    def registry(self, name: str) -> bytes:
        """Where a registry says that it is there."""
        return self.prefix + b"registries/" + name.encode()

    def ended(self, name: str) -> bytes:
        """Where a registry says what it removed."""
        return self.prefix + b"ended/" + name.encode()

    @property
    def lineage(self) -> bytes:
        """What tells one history of etcd from another."""
        return self.prefix + b"lineage"

    def read(self, key: bytes) -> tuple[str, str]:
        """The kind of a key (``workers``, ``registries``, ``ended``, or another) and the name behind it."""
        kind, _, name = key.removeprefix(self.prefix).decode(errors="replace").partition("/")
        return kind, name


def to_value(registration: Registration) -> bytes:
    """A registration as it is kept. The same one always gives the same bytes."""
    stored = stored_pb2.StoredRegistration(
        worker=registration.worker,
        lease_id=registration.lease_id,
        epoch=registration.epoch,
        ttl=registration.ttl,
        registered_at=registration.registered_at,
        changes=registration.changes,
        keeper=registration.keeper,
    )
    return stored.SerializeToString(deterministic=True)


def from_value(value: bytes) -> Registration:
    """A registration that was kept.

    Raises:
        google.protobuf.message.DecodeError: The value is none.
    """
    stored = stored_pb2.StoredRegistration.FromString(value)
    return Registration(
        stored.worker,
        stored.lease_id,
        stored.epoch,
        stored.ttl,
        stored.registered_at,
        stored.changes,
        stored.keeper,
    )


def end_value(registration: Registration, reason: registry_pb2.LeaseLoss.ValueType) -> bytes:
    """Why a registration was removed, as it is kept."""
    end = stored_pb2.StoredEnd(
        worker_id=registration.worker_id, lease_id=registration.lease_id, reason=reason
    )
    return end.SerializeToString(deterministic=True)
