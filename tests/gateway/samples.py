"""Registry messages for the pure tests."""

from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2 as rpb

CHAT = pb.Model(id="chat", tasks=[pb.TASK_CHAT, pb.TASK_COMPLETION])
EMBED = pb.Model(id="embed", tasks=[pb.TASK_EMBED])


def entry(
    worker_id: str,
    *,
    epoch: int = 1,
    address: str = "",
    state: rpb.WorkerState.ValueType = rpb.WORKER_STATE_READY,
    lease: rpb.LeaseState.ValueType = rpb.LEASE_STATE_ACTIVE,
    models: tuple[pb.Model, ...] = (CHAT,),
    capacity: int = 8,
    load: rpb.Load | None = None,
) -> rpb.RegisteredWorker:
    """A worker as the registry tells of it."""
    worker = rpb.Worker(
        id=worker_id, address=address or f"{worker_id}:1", models=models, state=state, capacity=capacity
    )
    return rpb.RegisteredWorker(worker=worker, epoch=epoch, lease_state=lease, load=load)


def change(**kind: Any) -> rpb.WatchResponse:
    """One change of the set."""
    return rpb.WatchResponse(revision=1, registry_id="r", **kind)


def snapshot(*entries: rpb.RegisteredWorker, settling: bool = False) -> rpb.WatchResponse:
    """The whole set."""
    return change(snapshot=rpb.Snapshot(workers=entries, settling=settling))
