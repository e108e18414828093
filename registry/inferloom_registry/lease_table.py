"""The lease table: who holds a lease, until when, and what that means. Pure; it waits for nothing."""

from collections.abc import Callable
from dataclasses import replace

from inferloom.v1 import registry_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_registry.journal import Change, Journal, Kind
from inferloom_registry.lease import Lease, LeaseLostError
from inferloom_registry.mass_expiry import MassExpiryGuard
from inferloom_registry.past import Ended, Past
from inferloom_registry.registration import Registration


class LeaseTable:
    """The set of workers, each with one lease, and the journal of its changes.

    Deciding and changing are apart, because between them a store must agree: :meth:`draft`,
    :meth:`renewal`, :meth:`held` and :meth:`tick` say what should be stored or removed; :meth:`put` and
    :meth:`remove` are told what was. When a lease was renewed, how busy its worker is and whether it is
    SUSPECT only this table knows (:meth:`renew`, :meth:`tick`): it is not stored.

    A lease is ACTIVE until its TTL has passed since the last renewal, then SUSPECT, which a renewal undoes,
    and due for removal after it has been SUSPECT for half a TTL. :mod:`~inferloom_registry.mass_expiry`
    says when due leases are kept all the same.

    A table judges the leases that its registry keeps, and those whose keeper is not there any more
    (:meth:`registries`), each from when it learned of that: a worker whose registry died has one whole TTL
    to come to another. It leaves those of other registries to them.

    While it is frozen, because what is stored is out of reach (:meth:`freeze`), nothing is judged; when that
    is over, every lease is good for one TTL again.

    For ``settle`` seconds after it was made the table removes nothing that was not given back: its workers
    may only not have found it yet. After that every reader is sent the whole set.

    Args:
        clock: Seconds, monotonic.
        settle: How long to settle, in seconds.
        max_workers: Most workers that are held.
        registry: Name of the registry whose table it is.
    """

    def __init__(
        self, clock: Callable[[], float], settle: float, max_workers: int = 1024, registry: str = ""
    ) -> None:
        self._clock = clock
        self._registry = registry
        self._present = frozenset({registry})
        self._settled_at = clock() + settle
        self._max_workers = max_workers
        self._leases: dict[str, Lease] = {}
        self._workers_by_lease: dict[str, str] = {}
        self._past = Past()
        self._journal = Journal()
        self._guard = MassExpiryGuard()
        self.settling = True
        """Whether a worker that is missing here may only not have come back yet."""
        self.suspected = 0
        """How often a lease was found SUSPECT."""
        self.frozen = ""
        """The alarm: why what is stored is out of reach. Empty: it is not."""

    def now(self) -> float:
        """The time of the table's clock, in seconds."""
        return self._clock()

    @property
    def revision(self) -> int:
        """Number of the last change."""
        return self._journal.revision

    @property
    def silenced(self) -> frozenset[str]:
        """The alarm: models of which more than half of the workers fell silent together."""
        return self._guard.silenced

    def leases(self) -> list[Lease]:
        """All leases, in order of worker id."""
        return [lease for _, lease in sorted(self._leases.items())]

    def get(self, worker_id: str) -> Lease | None:
        """The lease of a worker."""
        return self._leases.get(worker_id)

    def covers(self, revision: int) -> bool:
        """Whether :meth:`since` can tell all that changed after ``revision``."""
        return self._journal.covers(revision)

    def since(self, revision: int) -> list[Change]:
        """The changes after ``revision``, which must be covered, in order."""
        return self._journal.since(revision)

    def keeps(self, lease: Lease) -> bool:
        """Whether this table judges a lease, and knows when it was renewed."""
        keeper = lease.registration.keeper
        return keeper == self._registry or keeper not in self._present

    def registries(self, present: frozenset[str]) -> None:
        """Take note of the registries that there are. What one that went kept lasts one TTL from now."""
        orphaned = [lease for lease in self._leases.values() if not self.keeps(lease)]
        self._present = present | {self._registry}
        for lease in orphaned:
            if self.keeps(lease):
                self._grant_anew(lease)

    def settle(self, seconds: float) -> None:
        """Take the set for incomplete for ``seconds`` from now."""
        self._settled_at = self._clock() + seconds

    def freeze(self, why: str) -> None:
        """Let no time pass, because what is stored is out of reach for ``why``. Every reader is told."""
        if not self.frozen:
            self._journal.restart()
        self.frozen = why

    def thaw(self) -> None:
        """Let time pass again. Every lease lasts one TTL from now, and every reader is sent the whole set."""
        if self.frozen:
            self.frozen = ""
            for lease in self._leases.values():
                self._grant_anew(lease)
            self._journal.restart()

    def draft(self, registration: Registration, previous_epoch: int, floor: int = 0) -> Registration:
        """Give a new registration its epoch: one above ``floor``, and above every one known of the worker.

        A worker takes its name over from whoever holds it, because that is how a restarted worker comes
        back. The exception is a caller that shows it is the older one: it held an epoch once, the name has
        since been registered from another address, and that lease is still held.

        Raises:
            InferloomError: ALREADY_EXISTS for such a caller; SERVER_OVERLOADED if the table is full.
        """
        worker_id = registration.worker_id
        lease = self._leases.get(worker_id)
        if lease is None and len(self._leases) >= self._max_workers:
            raise InferloomError(
                Reason.SERVER_OVERLOADED,
                f"The registry already holds {self._max_workers} workers.",
                retry_after=registration.ttl,
            )
        if (
            lease is not None
            and 0 < previous_epoch < lease.registration.epoch
            # The same address is the same worker, whose last answer was lost on the way.
            and lease.registration.worker.address != registration.worker.address
        ):
            raise InferloomError(
                Reason.ALREADY_EXISTS, f"The worker {worker_id!r} was registered again from elsewhere."
            )
        held = lease.registration.epoch if lease else 0
        epoch = max(held, self._past.epoch(worker_id), previous_epoch, floor) + 1
        return replace(registration, epoch=epoch, keeper=self._registry)

    def knows(self, lease_id: str) -> bool:
        """Whether a lease is held, or its end is remembered."""
        return lease_id in self._workers_by_lease or self._past.lease(lease_id) is not None

    def held(self, lease_id: str, epoch: int) -> Registration:
        """The registration of a lease that is good.

        Raises:
            LeaseLostError: The lease is unknown, has ended, or belongs to another epoch.
        """
        worker_id = self._workers_by_lease.get(lease_id)
        if worker_id is not None:
            registration = self._leases[worker_id].registration
            if registration.epoch != epoch:
                raise LeaseLostError(pb.LEASE_LOSS_FENCED)
            return registration
        ended = self._past.lease(lease_id)
        if ended is None:
            raise LeaseLostError(pb.LEASE_LOSS_UNKNOWN)
        # A lease that ran out cannot be taken up again once its name has a new holder.
        if ended.reason == pb.LEASE_LOSS_EXPIRED and ended.worker_id in self._leases:
            raise LeaseLostError(pb.LEASE_LOSS_FENCED)
        raise LeaseLostError(ended.reason)

    def renewal(
        self,
        lease_id: str,
        epoch: int,
        state: pb.WorkerState.ValueType = pb.WORKER_STATE_UNSPECIFIED,
        models: pb.ModelSet | None = None,
        capacity: int = 0,
    ) -> Registration:
        """What a renewal makes of a registration: the one that is held, if all that lasts of it stays.

        Whatever is None, unspecified or 0 stays. A worker that renewed with another registry is this one's
        from here on.

        Raises:
            LeaseLostError: As :meth:`held`.
        """
        return self.held(lease_id, epoch).renewed(self._registry, state, models, capacity)

    def note_load(self, registration: Registration, load: pb.Load | None) -> None:
        """Take note of how busy the worker of a registration that is held is; it is told with what changes
        next. None: nothing was said."""
        if load is not None:
            self._leases[registration.worker_id].load = load

    def renew(self, registration: Registration, load: pb.Load | None = None) -> None:
        """Renew the lease of a registration that is held, now. Without ``load`` what it last said stays."""
        lease = self._leases[registration.worker_id]
        lease.renewed_at = self._clock()
        if load is not None:
            lease.load = load
        if lease.suspect:
            self._grant_anew(lease)
        elif load is not None:
            # Also when the numbers are the same: that they still hold is news to a router.
            self._journal.record(Kind.LOAD, registration.worker_id, registration.epoch)

    def put(self, registration: Registration) -> None:
        """Hold ``registration``, renewed now. One that is older than what is held changes nothing."""
        worker_id = registration.worker_id
        lease = self._leases.get(worker_id)
        known = lease.registration if lease else None
        if known is not None and registration.version <= known.version:
            return
        models = frozenset(model.id for model in registration.worker.models)
        kept = lease is not None and lease.registration.epoch == registration.epoch
        load = lease.load if lease is not None and kept else None
        self._leases[worker_id] = Lease(registration, models, self._clock(), load)
        if known is not None and known.lease_id != registration.lease_id:
            self._end(known, pb.LEASE_LOSS_FENCED)
        self._workers_by_lease[registration.lease_id] = worker_id
        if (
            lease is None
            or lease.suspect
            or lease.registration.epoch != registration.epoch
            or lease.registration.worker != registration.worker
        ):
            self._journal.record(Kind.PUT, worker_id, registration.epoch)

    def remove(self, registration: Registration, reason: pb.LeaseLoss.ValueType) -> None:
        """Drop the lease of ``registration``, for ``reason``. One that is not held changes nothing."""
        lease = self._leases.get(registration.worker_id)
        if lease is None or lease.registration.lease_id != registration.lease_id:
            return
        del self._leases[registration.worker_id]
        self._end(registration, reason)
        self._journal.record(Kind.REMOVED, registration.worker_id, registration.epoch, reason)

    def tick(self) -> list[Registration]:
        """Let time pass: mark leases SUSPECT, and return those to remove as EXPIRED."""
        now = self._clock()
        if self.frozen:
            return []
        if self.settling and now >= self._settled_at:
            self.settling = False
            self._journal.restart()
        judged = [lease for lease in self._leases.values() if self.keeps(lease)]
        for lease in judged:
            if not lease.suspect and lease.outlived(1.0, now):
                lease.suspect_since = now
                self.suspected += 1
                self._journal.record(Kind.PUT, lease.registration.worker_id, lease.registration.epoch)
        self._guard.watch(judged, now)
        if self.settling:
            return []
        return [lease.registration for lease in judged if lease.due(now)]

    def _grant_anew(self, lease: Lease) -> None:
        lease.renewed_at, lease.kept_until = self._clock(), 0.0
        if lease.suspect:
            lease.suspect_since = None
            self._journal.record(Kind.PUT, lease.registration.worker_id, lease.registration.epoch)

    def _end(self, registration: Registration, reason: pb.LeaseLoss.ValueType) -> None:
        self._workers_by_lease.pop(registration.lease_id, None)
        self._past.add(registration.lease_id, Ended(registration.worker_id, registration.epoch, reason))
