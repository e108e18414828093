"""Keeps registrations in etcd, for several registries."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager, suppress

from inferloom.etcd import etcd_pb2 as etcd
from inferloom.v1 import registry_pb2 as pb
from inferloom_mesh.backoff import backoff
from inferloom_mesh.errors import InferloomError, overloaded
from inferloom_registry.etcd.client import EtcdClient
from inferloom_registry.etcd.faults import CompactedError, EtcdError
from inferloom_registry.etcd.lineage import Lineage
from inferloom_registry.etcd.presence import Presence
from inferloom_registry.etcd.progress import Progress
from inferloom_registry.etcd.watching import snapshot, watch
from inferloom_registry.registration import Registration
from inferloom_registry.stores.etcd_keys import Keys, end_value, to_value
from inferloom_registry.stores.etcd_set import EtcdSet
from inferloom_registry.stores.etcd_writes import Writes
from inferloom_registry.stores.protocol import Follower, Store

log = logging.getLogger(__name__)

HEARD_S = 2.0
"""Seconds until what was written must have come back by the watch."""

PROBE_S = 0.5
"""Seconds between looks at whether etcd answers with a quorum."""

PROBE_TIMEOUT_S = 1.5
"""Seconds that it may take."""

AWAY_S = 3.0
"""Seconds without an answer after which etcd is out of reach: longer than it takes to elect a leader."""

CATCH_UP_S = 0.05
"""Seconds between writes that are made only to hear of them."""


class EtcdStore(Store):
    """A store in etcd.

    The follower is told by one watch, in etcd's order, of everybody's writes; a write returns when the watch
    has told of it. A watch that breaks goes on from its last revision, with another member; where etcd has
    compacted that, everything is read anew and what differs is told.

    Args:
        client: Etcd; closed with the store.
        registry: Name of the registry that uses it, unique and new with each start.
        address: Where that listens, for people.
        prefix: What its keys begin with.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        client: EtcdClient,
        registry: str,
        address: str = "",
        prefix: str = "/inferloom/",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._registry = registry
        self._keys = Keys(prefix.encode())
        self._clock = clock
        self._presence = Presence(client, self._keys.registry(registry), address.encode())
        self._lineage = Lineage(client, self._keys.lineage)
        self._set: EtcdSet
        self._writes = Writes(client)
        self._progress = Progress(clock)
        self._away = False
        self._catching: asyncio.Task[None] | None = None
        self._caught_at = float("-inf")
        self._tasks: list[asyncio.Task[None]] = []
        self._follower: Follower

    @property
    def floor(self) -> int:
        # Each write of etcd raises its revision by one, so an epoch that was above the revision before its
        # registration was written is no more than the revision after that.
        return self._progress.revision

    async def open(self, follower: Follower) -> None:
        self._follower = follower
        self._set = EtcdSet(self._keys, self._registry, follower, self._presence.lost)
        try:
            await self._presence.begin()
            await self._lineage.begin()
            await self._read_all()
        except EtcdError as failure:
            raise overloaded(f"etcd cannot be used: {failure}") from failure
        named = {"etcd watch": self._follow, "etcd lease": self._presence.keep, "etcd probe": self._probe}
        self._tasks = [asyncio.create_task(run(), name=name) for name, run in named.items()]
        for task in self._tasks:
            task.add_done_callback(self._report)

    def _report(self, task: asyncio.Task[None]) -> None:
        """Say that something ended which never should."""
        if task in self._tasks:
            why = "cancelled" if task.cancelled() else repr(task.exception())
            log.critical("the %s ended: %s", task.get_name(), why)

    async def put(self, registration: Registration, replaces: Registration | None) -> bool:
        value = to_value(registration)
        key = self._keys.worker(registration.worker_id)
        write = etcd.RequestOp(request_put=etcd.PutRequest(key=key, value=value))
        return await self._swap(registration, replaces, [write], value)

    async def remove(self, registration: Registration, reason: pb.LeaseLoss.ValueType) -> bool:
        key = self._keys.worker(registration.worker_id)
        delete = etcd.RequestOp(request_delete_range=etcd.DeleteRangeRequest(key=key))
        with self._reaching():
            lease = self._presence.lease
        end = etcd.PutRequest(
            key=self._keys.ended(self._registry), value=end_value(registration, reason), lease=lease
        )
        return await self._swap(registration, registration, [delete, etcd.RequestOp(request_put=end)], b"")

    async def catch_up(self) -> None:
        if self._catching is None:
            self._catching = asyncio.create_task(self._catch_up(), name="etcd catching up")
            self._catching.add_done_callback(_look)
        await asyncio.shield(self._catching)

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._writes.close()
        if tasks:
            with suppress(EtcdError):
                await self._presence.end()
        await self._client.close()

    async def _swap(
        self,
        registration: Registration,
        replaces: Registration | None,
        writes: list[etcd.RequestOp],
        value: bytes,
    ) -> bool:
        """Do ``writes``, which leave ``value``, if what is stored still is ``replaces``."""
        held = self._set.get(registration.worker_id)
        if (held.registration.version if held else None) != (replaces.version if replaces else None):
            return False
        key = self._keys.worker(registration.worker_id)
        still = etcd.Compare(target=etcd.Compare.MOD, key=key, mod_revision=held.revision if held else 0)
        with self._reaching():
            answer = await self._writes.swap(still, writes)
        if answer.succeeded:
            await self._until_heard(answer.header.revision)
            return True
        found = answer.responses[0].response_range.kvs
        if not found:
            await self.catch_up()
            return False
        await self._until_heard(found[0].mod_revision)
        # A call that was made again after its answer was lost finds what it wrote itself.
        return found[0].value == value

    async def _catch_up(self) -> None:
        await asyncio.sleep(self._caught_at + CATCH_UP_S - self._clock())
        self._catching, self._caught_at = None, self._clock()  # who comes now may want later writes
        with self._reaching():
            revision = await self._presence.assert_now()
        await self._until_heard(revision)

    async def _until_heard(self, revision: int) -> None:
        try:
            async with asyncio.timeout(HEARD_S):
                await self._progress.reach(revision)
        except TimeoutError:
            if self._clock() - self._progress.heard_at > HEARD_S:
                self._client.leave()  # its watch hangs
            raise overloaded("etcd did not tell of a write in time.") from None

    async def _read_all(self) -> None:
        pairs, revision = await snapshot(self._client, self._keys.prefix)
        self._set.replace(pairs)
        self._progress.set(revision)

    async def _write_again(self) -> None:
        """Put back what an etcd does not have any more that lost its data, or was restored."""
        pairs, _ = await snapshot(self._client, self._keys.prefix)
        missing = self._set.missing(pairs)
        log.warning("etcd is as it was earlier; writing %d workers again", len(missing))
        for registration in missing:
            key = self._keys.worker(registration.worker_id)
            write = etcd.RequestOp(request_put=etcd.PutRequest(key=key, value=to_value(registration)))
            await self._writes.swap(etcd.Compare(target=etcd.Compare.MOD, key=key, mod_revision=0), [write])
        await self._read_all()

    async def _follow(self) -> None:
        """Follow the changes until cancelled."""
        waits = backoff(0.05, 1.0)
        while True:
            try:
                changes = watch(self._client, self._keys.prefix, self._progress.revision + 1)
                async with aclosing(changes):
                    events: list[etcd.Event] = []
                    async for response in changes:
                        events += response.events
                        if not response.fragment:
                            self._set.change(events)
                            self._progress.hear(response.header.revision)
                            events = []
                            waits = backoff(0.05, 1.0)
            except CompactedError as failure:
                log.info("reading everything anew: %s", failure)
                with suppress(EtcdError):
                    await self._read_all()
            except EtcdError as failure:
                log.info("the watch on etcd broke and goes on: %s", failure)
            await asyncio.sleep(next(waits))

    async def _probe(self) -> None:
        """See whether etcd has a quorum, and once it had been away, whether all has been heard, until
        cancelled."""
        answered = self._clock()
        while True:
            try:
                if self._away:
                    await self.catch_up()
                    self._away = False
                    self._follower.out_of_reach(None)
                else:
                    heard = self._progress.revision  # what is heard during the look may be newer than it
                    known, revision = await self._lineage.look(PROBE_TIMEOUT_S)
                    if not known or revision < heard:
                        await self._write_again()
                        await self._lineage.begin()
                        self._client.leave()  # its watch waits for a revision that comes again
                answered = self._clock()
            except (EtcdError, InferloomError) as failure:
                if not self._away and self._clock() - answered > AWAY_S:
                    self._away = True
                    self._follower.out_of_reach(str(failure))
            await asyncio.sleep(PROBE_S)

    @staticmethod
    @contextmanager
    def _reaching() -> Iterator[None]:
        try:
            yield
        except EtcdError as failure:
            raise overloaded(f"etcd cannot be used: {failure}") from failure


def _look(task: asyncio.Task[None]) -> None:
    """Take note of a failure that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
