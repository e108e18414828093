"""Workers and registrations for tests."""

from dataclasses import replace

from inferloom.v1 import inference_pb2
from inferloom.v1 import registry_pb2 as pb
from inferloom_registry.lease_table import LeaseTable
from inferloom_registry.registration import Registration

TTL = 6.0


def worker(
    worker_id: str = "w1",
    *models: str,
    address: str = "127.0.0.1:7100",
    state: pb.WorkerState.ValueType = pb.WORKER_STATE_READY,
) -> pb.Worker:
    """A valid worker that holds ``models``; "m" without any."""
    held = [inference_pb2.Model(id=model) for model in models or ("m",)]
    return pb.Worker(id=worker_id, address=address, models=held, state=state, capacity=8, version="1")


def registration(worker_id: str = "w1", *models: str, lease_id: str = "", epoch: int = 1) -> Registration:
    """A registration as a store keeps it."""
    return Registration(worker(worker_id, *models), lease_id or f"{worker_id}-{epoch}", epoch, TTL, 0.0)


def join(
    table: LeaseTable, described: pb.Worker, *, lease_id: str = "", previous_epoch: int = 0, ttl: float = TTL
) -> Registration:
    """Register with a table, as the registry does it."""
    wanted = Registration(described, lease_id, 0, ttl, 0.0)
    draft = table.draft(wanted, previous_epoch)
    granted = replace(draft, lease_id=lease_id or f"{described.id}-{draft.epoch}")
    table.put(granted)
    return granted


def renew(table: LeaseTable, held: Registration, load: pb.Load | None = None, **told: object) -> Registration:
    """Renew a lease of a table, as the registry does it."""
    renewed = table.renewal(held.lease_id, held.epoch, **told)  # type: ignore[arg-type] # of many types
    table.put(renewed)
    table.renew(renewed, load)
    return renewed


def expire(table: LeaseTable) -> list[str]:
    """Let a table look at its clock and remove what is due; the ids of the workers that went."""
    due = table.tick()
    for gone in due:
        table.remove(gone, pb.LEASE_LOSS_EXPIRED)
    return sorted(gone.worker_id for gone in due)
