"""Following the set of workers: a snapshot, then every change."""

import asyncio
from collections.abc import AsyncIterator

from inferloom.v1 import registry_pb2 as pb
from inferloom_mesh.errors import overloaded
from inferloom_registry.journal import Change, Kind
from inferloom_registry.lease_table import LeaseTable
from inferloom_registry.wire import registered_worker


class WatchHub:
    """Sends the lease table's changes to any number of watchers.

    A watcher has no queue. It keeps the revision that it has sent and reads the rest from the journal when
    its caller is ready for more, so a slow caller costs nothing: it is sent where things stand and skips
    what has been overtaken. One that is too far behind for the journal is sent a snapshot.

    Args:
        table: The lease table.
        registry_id: Names this table: its revisions can be compared with no other's.
    """

    def __init__(self, table: LeaseTable, registry_id: str) -> None:
        self.registry_id = registry_id
        self._table = table
        self._news = asyncio.Event()
        self._closed = False

    def announce(self) -> None:
        """Wake the watchers after the table has changed."""
        self._news.set()
        self._news = asyncio.Event()

    def close(self) -> None:
        """End every watch."""
        self._closed = True
        self.announce()

    async def follow(self, from_revision: int = 0, registry_id: str = "") -> AsyncIterator[pb.WatchResponse]:
        """Yield what changed after ``from_revision``, then every change as it happens.

        The first response is a snapshot if ``from_revision`` is 0, of another registry, or out of the
        journal's reach. Another snapshot may come at any time and replaces all that came before.

        Raises:
            InferloomError: SERVER_OVERLOADED once the hub is closed, so that the caller comes back later.
        """
        resumes = from_revision > 0 and registry_id == self.registry_id
        sent = from_revision if resumes else None
        while not self._closed:
            news = self._news  # taken before reading, so that what happens meanwhile is not missed
            if sent is None or not self._table.covers(sent):
                snapshot = self._snapshot()
                sent = snapshot.revision
                yield snapshot
                continue
            for change in self._table.since(sent):
                if (response := self._response(change)) is not None:
                    yield response
                sent = change.revision
            if sent == self._table.revision:
                await news.wait()
        raise overloaded("The registry is stopping.")

    def _snapshot(self) -> pb.WatchResponse:
        now = self._table.now()
        table = self._table
        workers = [registered_worker(lease, now, kept=table.keeps(lease)) for lease in table.leases()]
        return pb.WatchResponse(
            revision=self._table.revision,
            registry_id=self.registry_id,
            snapshot=pb.Snapshot(workers=workers, settling=table.settling, frozen=table.frozen),
        )

    def _response(self, change: Change) -> pb.WatchResponse | None:
        response = pb.WatchResponse(revision=change.revision, registry_id=self.registry_id)
        if change.kind is Kind.REMOVED:
            response.removed.CopyFrom(
                pb.WorkerRemoved(worker_id=change.worker_id, epoch=change.epoch, reason=change.reason)
            )
            return response
        lease = self._table.get(change.worker_id)
        if lease is None or lease.registration.epoch != change.epoch:
            return None  # overtaken while the caller was not ready; what overtook it comes next
        if change.kind is Kind.PUT:
            kept = self._table.keeps(lease)
            response.put.CopyFrom(registered_worker(lease, self._table.now(), kept=kept))
        else:
            response.load.CopyFrom(
                pb.WorkerLoad(worker_id=change.worker_id, epoch=change.epoch, load=lease.load)
            )
        return response
