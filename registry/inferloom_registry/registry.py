"""The registry: decides by the lease table, writes to the store, and tells the watchers."""

import logging
import secrets
import time
from collections.abc import Callable

from inferloom.v1 import registry_pb2 as pb
from inferloom_mesh.errors import InferloomError, overloaded
from inferloom_registry.lease_table import LeaseTable
from inferloom_registry.listener import Listener
from inferloom_registry.registration import Registration
from inferloom_registry.stores.protocol import Store
from inferloom_registry.watch import WatchHub

log = logging.getLogger(__name__)

TRIES = 8
"""How often a write is decided again after another registry's write came first."""


class Registry:
    """What a registry does, without the wire. What it is given is already checked.

    Its methods that workers call raise InferloomError with SERVER_OVERLOADED while the store is out of reach:
    the worker then tries another registry, whose way to the store may be better, and keeps its lease. So do
    they after losing :data:`TRIES` races against other registries.

    Args:
        table: The lease table.
        store: Where registrations are kept; opened and closed with the registry.
        hub: The watchers.
        wall_clock: Seconds since 1970.
        listener: Is told of each lease's change.
    """

    def __init__(
        self,
        table: LeaseTable,
        store: Store,
        hub: WatchHub,
        wall_clock: Callable[[], float] = time.time,
        listener: Listener | None = None,
    ) -> None:
        self.table = table
        self.hub = hub
        self._store = store
        self._wall_clock = wall_clock
        self._listener = listener or Listener()

    async def open(self) -> None:
        """Take over what the store holds. May be tried again after it raised SERVER_OVERLOADED."""
        await self._store.open(self)

    def begin(self, settle: float) -> None:
        """Let time pass, ``settle`` seconds of it without taking the set for complete."""
        self.table.settle(settle)
        self.table.thaw()
        self.hub.announce()

    async def close(self) -> None:
        """End every watch and let the store go."""
        self.hub.close()
        await self._store.close()

    async def register(self, worker: pb.Worker, previous_epoch: int, ttl: float) -> Registration:
        """Grant ``worker`` a lease of ``ttl`` seconds, which fences any earlier one.

        Raises:
            InferloomError: As :meth:`LeaseTable.draft`.
        """
        wanted = Registration(worker, secrets.token_urlsafe(16), 0, ttl, self._wall_clock())
        for _ in range(TRIES):
            self._refuse_while_frozen()
            draft = self.table.draft(wanted, previous_epoch, self._store.floor)
            lease = self.table.get(worker.id)
            if await self._store.put(draft, lease.registration if lease else None):
                self._listener.on_registered()
                log.info("%s registered at %s, epoch %d", worker.id, worker.address, draft.epoch)
                return draft
        raise overloaded("Other registries are writing this worker.")

    async def renew(
        self,
        lease_id: str,
        epoch: int,
        load: pb.Load | None = None,
        state: pb.WorkerState.ValueType = pb.WORKER_STATE_UNSPECIFIED,
        models: pb.ModelSet | None = None,
        capacity: int = 0,
    ) -> Registration:
        """Renew a lease and take up what the worker says of itself; what is absent or 0 stays.

        Only what lasts is written to the store: a change, or that this registry keeps the lease from now on.

        Raises:
            LeaseLostError: The lease is not good any more.
        """
        await self.hear_of(lease_id)
        for _ in range(TRIES):
            held = self.table.held(lease_id, epoch)
            changed = self.table.renewal(lease_id, epoch, state, models, capacity)
            if changed is not held:
                # What watchers are told of the change has the load in it.
                self.table.note_load(held, load)
                if not await self._store.put(changed, held):
                    continue
                load = None
            self.table.renew(self.table.held(lease_id, epoch), load)
            self.hub.announce()
            self._listener.on_renewed()
            return changed
        raise overloaded("Other registries are writing this worker.")

    async def deregister(self, lease_id: str, epoch: int) -> None:
        """Give a lease back.

        Raises:
            LeaseLostError: The lease was not good any more.
        """
        await self.hear_of(lease_id)
        for _ in range(TRIES):
            held = self.table.held(lease_id, epoch)
            if await self._store.remove(held, pb.LEASE_LOSS_DEREGISTERED):
                return
        raise overloaded("Other registries are writing this worker.")

    async def catch_up(self) -> None:
        """Return once the table has all that was in the store when this was called."""
        if not self.table.frozen:
            await self._store.catch_up()

    async def hear_of(self, lease_id: str) -> None:
        """See to it that a lease which any registry has granted is known; it may be a moment old.

        Raises:
            InferloomError: SERVER_OVERLOADED while the store is out of reach.
        """
        self._refuse_while_frozen()
        if not self.table.knows(lease_id):
            await self._store.catch_up()

    def _refuse_while_frozen(self) -> None:
        if self.table.frozen:
            raise overloaded(f"The registry has lost its store: {self.table.frozen}")

    async def tick(self) -> None:
        """Let time pass: suspect and remove leases that were not renewed."""
        before = self.table.revision
        due = self.table.tick()
        if self.table.revision != before:
            self.hub.announce()
        for registration in due:
            if self.table.frozen:
                return
            try:
                await self._store.remove(registration, pb.LEASE_LOSS_EXPIRED)
            except InferloomError as failure:
                # It stays due, so the next tick tries again.
                log.warning("cannot remove %s: %s", registration.worker_id, failure.message)

    def stored(self, registration: Registration) -> None:
        before = self.table.get(registration.worker_id)
        if before is not None and before.registration.lease_id != registration.lease_id:
            self._taken_over(before.registration, registration)
        self.table.put(registration)
        self.hub.announce()

    def _taken_over(self, before: Registration, after: Registration) -> None:
        """Tell of a name that was registered again. Two processes cannot have one address at a time, so what
        comes from the same is the same worker; from another it may be a second one."""
        was, at = before.worker.address, after.worker.address
        if was == at:
            log.info("%s gone, epoch %d: it came back at the same address", before.worker_id, before.epoch)
            self._listener.on_replaced()
        else:
            log.warning(
                "%s gone, epoch %d: fenced by another that has its name; it was at %s, that is at %s",
                before.worker_id,
                before.epoch,
                was,
                at,
            )
            self._listener.on_lost(pb.LEASE_LOSS_FENCED)

    def removed(self, registration: Registration, reason: pb.LeaseLoss.ValueType) -> None:
        log.info(
            "%s gone, epoch %d: %s", registration.worker_id, registration.epoch, pb.LeaseLoss.Name(reason)
        )
        self._listener.on_lost(reason)
        self.table.remove(registration, reason)
        self.hub.announce()

    def registries(self, present: frozenset[str]) -> None:
        self.table.registries(present)
        self.hub.announce()

    def out_of_reach(self, why: str | None) -> None:
        if why is not None:
            log.error("ALARM: the store is out of reach; the workers stay as they are: %s", why)
            self.table.freeze(why)
        elif self.table.frozen:
            log.warning("alarm over: the store is back")
            self.table.thaw()
        self.hub.announce()
