"""What changed since a revision, in bounded memory."""

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum

from inferloom.v1 import registry_pb2 as pb


class Kind(Enum):
    """What a change did to a worker."""

    PUT = "put"
    LOAD = "load"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Change:
    """One worker's last change of one kind. What it changed to is read from the lease table."""

    revision: int
    kind: Kind
    worker_id: str
    epoch: int
    reason: pb.LeaseLoss.ValueType = pb.LEASE_LOSS_UNSPECIFIED
    """Why the worker went, where it did."""


class Journal:
    """A change log that keeps only what still matters: each worker's last put, load and removal.

    A later put makes a worker's earlier changes pointless, and so does a removal. So the log never holds
    more than two changes of a present worker and one of an absent one, and a reader who is far behind
    is sent the little that is left rather than everything that happened.

    Args:
        removals: Most removals to remember. Forgetting one puts readers who have not seen it out of reach.
    """

    def __init__(self, removals: int = 1024) -> None:
        self.revision = 0
        """Number of the last change."""
        self._floor = 0
        self._removals = removals
        self._removed: OrderedDict[str, int] = OrderedDict()
        self._changes: OrderedDict[tuple[str, Kind], Change] = OrderedDict()

    def record(
        self,
        kind: Kind,
        worker_id: str,
        epoch: int,
        reason: pb.LeaseLoss.ValueType = pb.LEASE_LOSS_UNSPECIFIED,
    ) -> None:
        """Add a change, with the next revision."""
        self.revision += 1
        if kind is not Kind.LOAD:
            for earlier in Kind:
                self._changes.pop((worker_id, earlier), None)
            self._removed.pop(worker_id, None)
        self._changes.pop((worker_id, kind), None)
        self._changes[worker_id, kind] = Change(self.revision, kind, worker_id, epoch, reason)
        if kind is Kind.REMOVED:
            self._removed[worker_id] = self.revision
            if len(self._removed) > self._removals:
                forgotten, self._floor = self._removed.popitem(last=False)
                del self._changes[forgotten, Kind.REMOVED]

    def restart(self) -> None:
        """Put every reader out of reach, so that each is sent the whole set."""
        self.revision += 1
        self._floor = self.revision
        self._changes.clear()
        self._removed.clear()

    def covers(self, revision: int) -> bool:
        """Whether :meth:`since` can tell all that changed after ``revision``."""
        return self._floor <= revision <= self.revision

    def since(self, revision: int) -> list[Change]:
        """The changes after ``revision``, which must be covered, in order of revision."""
        found: list[Change] = []
        for change in reversed(self._changes.values()):
            if change.revision <= revision:
                break
            found.append(change)
        found.reverse()
        return found
