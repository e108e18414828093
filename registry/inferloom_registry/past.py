"""What is remembered of leases that have ended."""

from collections import OrderedDict
from dataclasses import dataclass

from inferloom.v1 import registry_pb2 as pb


@dataclass(frozen=True, slots=True)
class Ended:
    """A lease that ended."""

    worker_id: str
    epoch: int
    reason: pb.LeaseLoss.ValueType


class Past:
    """Why leases ended, and which epochs were used, of the ``most`` that ended last.

    Forgetting costs little: a forgotten lease is answered as unknown, and a worker that registers again
    says its own last epoch.
    """

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._leases: OrderedDict[str, Ended] = OrderedDict()
        self._epochs: OrderedDict[str, int] = OrderedDict()

    def add(self, lease_id: str, ended: Ended) -> None:
        """Remember a lease that ended."""
        self._leases[lease_id] = ended
        self._epochs[ended.worker_id] = max(ended.epoch, self.epoch(ended.worker_id))
        self._epochs.move_to_end(ended.worker_id)
        if len(self._leases) > self._most:
            self._leases.popitem(last=False)
        if len(self._epochs) > self._most:
            self._epochs.popitem(last=False)

    def lease(self, lease_id: str) -> Ended | None:
        """How a lease ended. None: not remembered."""
        return self._leases.get(lease_id)

    def epoch(self, worker_id: str) -> int:
        """The highest epoch of a worker whose lease ended. 0: not remembered."""
        return self._epochs.get(worker_id, 0)
