"""Leases and times in the contract's messages."""

from google.protobuf.timestamp_pb2 import Timestamp

from inferloom.v1 import registry_pb2 as pb
from inferloom_mesh.durations import duration
from inferloom_registry.lease import Lease


def registered_worker(lease: Lease, now: float, *, kept: bool = True) -> pb.RegisteredWorker:
    """A lease as it stands at ``now``, a time of the lease table's clock; ``kept``: whether the table knows
    when it was renewed."""
    registration = lease.registration
    registered_at = Timestamp()
    registered_at.FromNanoseconds(round(registration.registered_at * 1e9))
    told = pb.RegisteredWorker(
        worker=registration.worker,
        epoch=registration.epoch,
        lease_state=pb.LEASE_STATE_SUSPECT if lease.suspect else pb.LEASE_STATE_ACTIVE,
        registered_at=registered_at,
        keeper_id=registration.keeper,
    )
    if kept:
        told.last_renewal_age.CopyFrom(duration(now - lease.renewed_at))
        told.ttl.CopyFrom(duration(max(0.0, lease.expires_at - now)))
        if lease.load is not None:
            told.load.CopyFrom(lease.load)
    return told
