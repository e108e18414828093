import asyncio
from collections.abc import AsyncIterator

import pytest

from inferloom.v1 import registry_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_registry.lease_table import LeaseTable
from inferloom_registry.watch import WatchHub
from tests.patience import PATIENCE_S
from tests.registry.clock import FakeClock
from tests.registry.samples import TTL, expire, join, renew, worker


@pytest.fixture
def hub(table: LeaseTable) -> WatchHub:
    return WatchHub(table, "r1")


async def next_of(watch: AsyncIterator[pb.WatchResponse]) -> pb.WatchResponse:
    async with asyncio.timeout(PATIENCE_S):
        return await anext(watch)


async def test_a_watch_begins_with_a_snapshot(hub: WatchHub, table: LeaseTable, clock: FakeClock) -> None:
    """Everything there is, in order of id, with lease ages and load."""
    join(table, worker("b"))
    renew(table, join(table, worker("a")), load=pb.Load(running=2))
    clock.advance(1.5)
    first = await next_of(hub.follow())
    assert (first.revision, first.registry_id) == (table.revision, "r1")
    assert [each.worker.id for each in first.snapshot.workers] == ["a", "b"]
    a = first.snapshot.workers[0]
    assert (a.epoch, a.lease_state, a.load.running) == (1, pb.LEASE_STATE_ACTIVE, 2)
    assert (a.last_renewal_age.ToMilliseconds(), a.ttl.ToMilliseconds()) == (1500, 4500)
    assert not first.snapshot.settling


async def test_changes_follow_as_they_happen(hub: WatchHub, table: LeaseTable) -> None:
    """A worker comes, says its load, goes: put, load, removed, with rising revisions."""
    watch = hub.follow()
    revision = (await next_of(watch)).revision
    held = join(table, worker())
    assert (await next_of(watch)).put.worker == held.worker
    waiting = asyncio.create_task(next_of(watch))
    await asyncio.sleep(0)
    renew(table, held, load=pb.Load(waiting=4))
    hub.announce()
    load = await waiting
    assert load.load == pb.WorkerLoad(worker_id="w1", epoch=1, load=pb.Load(waiting=4))
    table.remove(table.leases()[0].registration, pb.LEASE_LOSS_DEREGISTERED)
    removed = await next_of(watch)
    assert removed.removed == pb.WorkerRemoved(worker_id="w1", epoch=1, reason=pb.LEASE_LOSS_DEREGISTERED)
    assert (load.revision, removed.revision) == (revision + 2, revision + 3)


async def test_a_watch_resumes_where_it_was(hub: WatchHub, table: LeaseTable) -> None:
    """A revision of this registry leads to what came after it, without a snapshot."""
    join(table, worker("a"))
    seen = table.revision
    join(table, worker("b"))
    first = await next_of(hub.follow(seen, "r1"))
    assert (first.put.worker.id, first.revision) == ("b", seen + 1)


@pytest.mark.parametrize(
    ("revision", "registry_id"), [(0, "r1"), (2, "r0"), (2, ""), (99, "r1"), (2**64 - 1, "r1")]
)
async def test_a_revision_that_means_nothing_here_gives_a_snapshot(
    hub: WatchHub, table: LeaseTable, revision: int, registry_id: str
) -> None:
    """None, another registry's, or one that has not been reached."""
    join(table, worker())
    assert (await next_of(hub.follow(revision, registry_id))).HasField("snapshot")


async def test_the_end_of_settling_sends_a_snapshot(clock: FakeClock) -> None:
    """A watcher that began while the registry settled is sent the complete set after it."""
    table = LeaseTable(clock, settle=TTL)
    hub = WatchHub(table, "r1")
    watch = hub.follow()
    assert (await next_of(watch)).snapshot.settling
    join(table, worker())
    assert (await next_of(watch)).HasField("put")
    clock.advance(TTL - 0.1)
    expire(table)
    clock.advance(0.1)
    expire(table)
    last = await next_of(watch)
    assert ([each.worker.id for each in last.snapshot.workers], last.snapshot.settling) == (["w1"], False)


async def test_a_slow_watcher_skips_what_was_overtaken(hub: WatchHub, table: LeaseTable) -> None:
    """Ten thousand renewals while a watcher is busy are one change to it."""
    watch = hub.follow()
    await next_of(watch)
    held = join(table, worker())
    await next_of(watch)
    for number in range(10_000):
        held = renew(table, held, load=pb.Load(running=number))
    last = await next_of(watch)
    assert (last.load.load.running, last.revision) == (9_999, table.revision)


async def test_a_watcher_that_is_too_far_behind_starts_over(hub: WatchHub, table: LeaseTable) -> None:
    """When the journal has forgotten a removal it has not seen, it is sent a snapshot."""
    watch = hub.follow()
    await next_of(watch)
    for number in range(1025):
        table.remove(join(table, worker(f"w{number}")), pb.LEASE_LOSS_DEREGISTERED)
    join(table, worker("last"))
    assert [each.worker.id for each in (await next_of(watch)).snapshot.workers] == ["last"]


async def test_a_worker_that_went_while_the_watcher_was_busy_is_told_once(
    hub: WatchHub, table: LeaseTable
) -> None:
    """A put that was overtaken by a removal between two reads is not sent."""
    watch = hub.follow()
    await next_of(watch)
    join(table, worker("a"))
    b = join(table, worker("b"))
    assert (await next_of(watch)).put.worker.id == "a"
    table.remove(b, pb.LEASE_LOSS_DEREGISTERED)
    assert (await next_of(watch)).removed.worker_id == "b"


async def test_closing_the_hub_ends_its_watches(hub: WatchHub) -> None:
    """A watcher that waits is told to come back later."""
    watch = hub.follow()
    await next_of(watch)
    waiting = asyncio.create_task(next_of(watch))
    await asyncio.sleep(0)
    hub.close()
    with pytest.raises(InferloomError) as caught:
        await waiting
    assert caught.value.reason is Reason.SERVER_OVERLOADED
