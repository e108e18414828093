"""One worker's registration, as a store keeps it."""

from dataclasses import dataclass, replace
from typing import Self

from inferloom.v1 import registry_pb2 as pb


@dataclass(frozen=True, slots=True)
class Registration:
    """A worker and the lease it was granted: what lasts of it, and nothing that changes with each renewal.

    It holds no monotonic time, because those of two processes cannot be compared: each registry measures a
    lease from the moment it learns of a write. Its messages are never changed after they are put here.
    """

    worker: pb.Worker
    """What the worker said of itself; already checked."""

    lease_id: str
    """Unguessable name of the lease."""

    epoch: int
    """Number of this registration; rises with each one of the same worker."""

    ttl: float
    """Seconds that the lease lasts without renewal."""

    registered_at: float
    """When it registered, in seconds since 1970. For people; nothing is decided by it."""

    changes: int = 0
    """How often it was changed since."""

    keeper: str = ""
    """The registry that the worker renews with, and that judges its silence."""

    @property
    def worker_id(self) -> str:
        """The worker's name."""
        return self.worker.id

    @property
    def version(self) -> tuple[int, int]:
        """Rises with each write of the same worker's registration."""
        return self.epoch, self.changes

    def renewed(
        self,
        keeper: str,
        state: pb.WorkerState.ValueType = pb.WORKER_STATE_UNSPECIFIED,
        models: pb.ModelSet | None = None,
        capacity: int = 0,
    ) -> Self:
        """What a renewal with ``keeper`` makes of it: itself, if all that lasts stays. Whatever is None,
        unspecified or 0 stays."""
        worker = self.worker
        if state or models is not None or capacity:
            worker = pb.Worker()
            worker.CopyFrom(self.worker)
            if state:
                worker.state = state
            if models is not None:
                del worker.models[:]
                worker.models.extend(models.models)
                worker.loading[:] = models.loading
            if capacity:
                worker.capacity = capacity
        if worker == self.worker and keeper == self.keeper:
            return self
        return replace(self, worker=worker, changes=self.changes + 1, keeper=keeper)
