import logging
from dataclasses import replace

import pytest

from inferloom.v1 import registry_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason, overloaded
from inferloom_registry.lease import LeaseLostError
from inferloom_registry.lease_table import LeaseTable
from inferloom_registry.registration import Registration
from inferloom_registry.registry import Registry
from inferloom_registry.stores.memory import MemoryStore, Shelf
from inferloom_registry.watch import WatchHub
from tests.logged import own_records
from tests.registry.clock import FakeClock
from tests.registry.samples import TTL, worker


async def open_registry(clock: FakeClock, store: MemoryStore) -> Registry:
    table = LeaseTable(clock, settle=TTL, registry=store.registry)
    registry = Registry(table, store, WatchHub(table, store.registry), wall_clock=lambda: 5.0)
    await registry.open()
    return registry


def ids(registry: Registry) -> list[str]:
    return [lease.registration.worker_id for lease in registry.table.leases()]


async def pass_time(clock: FakeClock, *registries: Registry, seconds: float) -> None:
    for _ in range(round(seconds / 0.5)):
        clock.advance(0.5)
        for registry in registries:
            await registry.tick()


class Racing(MemoryStore):
    """A store in which another registry always writes first."""

    async def put(self, registration: Registration, replaces: Registration | None) -> bool:
        return False


class Unreachable(MemoryStore):
    """A store that cannot be reached to remove."""

    reachable = False

    async def remove(self, registration: Registration, reason: pb.LeaseLoss.ValueType) -> bool:
        if not self.reachable:
            raise overloaded("The store is out of reach.")
        return await super().remove(registration, reason)


async def test_a_worker_registers_renews_and_leaves(clock: FakeClock) -> None:
    """The three writes reach the table through the store, and leases are unguessable and new each time."""
    registry = await open_registry(clock, MemoryStore())
    first = await registry.register(worker(), 0, TTL)
    second = await registry.register(worker(), 0, TTL)
    assert (first.registered_at, second.epoch) == (5.0, 2)
    assert first.lease_id != second.lease_id
    assert await registry.renew(second.lease_id, 2) is second
    assert (await registry.renew(second.lease_id, 2, state=pb.WORKER_STATE_DRAINING)).changes == 1
    await registry.deregister(second.lease_id, 2)
    assert ids(registry) == []
    with pytest.raises(LeaseLostError):
        await registry.deregister(second.lease_id, 2)


async def test_a_name_that_is_taken_over_is_told(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """From the same address it is the worker itself, which was started anew; from another it may be a second
    one, and both are named."""
    caplog.set_level(logging.INFO)
    registry = await open_registry(clock, MemoryStore())
    await registry.register(worker(), 0, TTL)
    await registry.register(worker(), 0, TTL)
    await registry.register(worker(address="127.0.0.1:7109"), 0, TTL)
    [back, fenced] = [record for record in own_records(caplog) if " gone, " in record.getMessage()]
    assert (back.levelname, fenced.levelname) == ("INFO", "WARNING")
    assert "w1 gone, epoch 1: it came back at the same address" in back.getMessage()
    assert "127.0.0.1:7100" in fenced.getMessage()
    assert "127.0.0.1:7109" in fenced.getMessage()


async def test_registries_of_one_store_see_one_set(clock: FakeClock) -> None:
    """A worker may register with one registry, renew with another, and is fenced by a third."""
    shelf = Shelf()
    a, b, c = [await open_registry(clock, MemoryStore(name, shelf)) for name in "abc"]
    first = await a.register(worker(), 0, TTL)
    await b.renew(first.lease_id, first.epoch, state=pb.WORKER_STATE_DRAINING)
    assert a.table.leases()[0].registration.worker.state == pb.WORKER_STATE_DRAINING
    assert (await c.register(worker(), 0, TTL)).epoch == 2
    with pytest.raises(LeaseLostError) as caught:
        await a.renew(first.lease_id, first.epoch)
    assert caught.value.reason == pb.LEASE_LOSS_FENCED


async def test_a_registry_that_starts_takes_over_and_waits(clock: FakeClock) -> None:
    """What an earlier registry stored is held for a TTL from the start, then removed if it stays silent."""
    shelf = Shelf()
    before = await open_registry(clock, MemoryStore("before", shelf))
    await before.register(worker(), 0, 2.0)
    await before.close()
    after = await open_registry(clock, MemoryStore("after", shelf))
    await pass_time(clock, after, seconds=TTL - 0.5)
    assert ids(after) == ["w1"]
    await pass_time(clock, after, seconds=0.5)
    assert ids(after) == []


async def test_losing_every_race_is_overload(clock: FakeClock) -> None:
    """A write that never wins is given up, so that its caller tries again later."""
    registry = await open_registry(clock, Racing())
    with pytest.raises(InferloomError) as caught:
        await registry.register(worker(), 0, TTL)
    assert caught.value.reason is Reason.SERVER_OVERLOADED


async def test_a_removal_that_fails_is_tried_again(clock: FakeClock) -> None:
    """A store that cannot be reached delays an expiry, and does not stop the ticker."""
    store = Unreachable()
    registry = await open_registry(clock, store)
    await registry.register(worker(), 0, TTL)
    await pass_time(clock, registry, seconds=2 * TTL)
    assert ids(registry) == ["w1"]
    store.reachable = True
    await registry.tick()
    assert ids(registry) == []


async def test_a_renewal_elsewhere_saves_a_lease_that_is_due(clock: FakeClock) -> None:
    """A removal decided before another registry's renewal arrived does not happen."""
    shelf = Shelf()
    registry = await open_registry(clock, MemoryStore("r", shelf))
    held = await registry.register(worker(), 0, TTL)
    await pass_time(clock, registry, seconds=1.5 * TTL - 0.5)
    shelf.registrations["w1"] = replace(held, changes=1)  # written, and not yet told
    await pass_time(clock, registry, seconds=1)
    assert ids(registry) == ["w1"]
