"""Several registries' tables over one set: who judges which lease."""

from dataclasses import replace

import pytest

from inferloom.v1 import registry_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_registry.lease_table import LeaseTable
from inferloom_registry.registration import Registration
from inferloom_registry.registry import Registry
from inferloom_registry.stores.memory import MemoryStore, Shelf
from inferloom_registry.watch import WatchHub
from tests.registry.clock import FakeClock
from tests.registry.samples import TTL, expire, registration, worker


def kept_by(keeper: str, worker_id: str, *models: str) -> Registration:
    return replace(registration(worker_id, *models), keeper=keeper)


@pytest.fixture
def table(clock: FakeClock) -> LeaseTable:
    """The settled table of the registry "here"; there is one "there" too."""
    table = LeaseTable(clock, settle=0, registry="here")
    table.tick()
    table.registries(frozenset({"here", "there"}))
    return table


def states(table: LeaseTable) -> dict[str, bool]:
    return {lease.registration.worker_id: lease.suspect for lease in table.leases()}


def pass_time(table: LeaseTable, clock: FakeClock, seconds: float) -> list[str]:
    """Let time pass, and remove what is due; who went."""
    gone: list[str] = []
    for _ in range(round(seconds / 0.5)):
        clock.advance(0.5)
        gone += expire(table)
    return gone


def test_a_lease_that_another_registry_keeps_is_left_to_it(table: LeaseTable, clock: FakeClock) -> None:
    """It is not renewed here, and that is no silence."""
    table.put(kept_by("there", "w"))
    assert pass_time(table, clock, 100 * TTL) == []
    assert states(table) == {"w": False}


def test_a_lost_registrys_workers_have_one_ttl_from_then(table: LeaseTable, clock: FakeClock) -> None:
    """Whoever does not come within it is SUSPECT, and goes half a TTL later."""
    table.put(kept_by("there", "w"))
    pass_time(table, clock, 5 * TTL)
    table.registries(frozenset({"here"}))
    assert pass_time(table, clock, TTL - 0.5) == []
    assert states(table) == {"w": False}
    assert pass_time(table, clock, 0.5) == []
    assert states(table) == {"w": True}
    assert pass_time(table, clock, TTL / 2) == ["w"]


def test_a_registry_that_is_there_again_judges_its_own(table: LeaseTable, clock: FakeClock) -> None:
    """One that was only out of reach of the store goes on with what it keeps."""
    table.put(kept_by("there", "w"))
    table.registries(frozenset({"here"}))
    pass_time(table, clock, TTL)
    table.registries(frozenset({"here", "there"}))
    assert pass_time(table, clock, 10 * TTL) == []


def test_a_renewal_makes_a_registry_the_keeper_by_one_change(table: LeaseTable) -> None:
    """Further renewals change nothing that lasts."""
    held = kept_by("there", "w")
    table.put(held)
    taken = table.renewal(held.lease_id, held.epoch)
    assert (taken.keeper, taken.version) == ("here", (1, 1))
    table.put(taken)
    assert table.renewal(held.lease_id, held.epoch) is taken


def test_the_guard_counts_among_those_a_registry_hears(table: LeaseTable, clock: FakeClock) -> None:
    """A registry that lost the way to all its own workers keeps them, though as many are well elsewhere."""
    for number in range(4):
        table.put(kept_by("there", f"there{number}"))
        table.put(kept_by("here", f"here{number}"))
    assert pass_time(table, clock, 5 * TTL) == []
    assert table.silenced == {"m"}
    assert sum(states(table).values()) == 4


def test_a_frozen_table_judges_nothing_and_then_grants_anew(table: LeaseTable, clock: FakeClock) -> None:
    """Out of reach of the store nobody becomes SUSPECT or goes; after that all have one TTL."""
    table.put(kept_by("here", "w"))
    table.freeze("no quorum")
    assert pass_time(table, clock, 100 * TTL) == []
    assert states(table) == {"w": False}
    table.thaw()
    assert pass_time(table, clock, TTL - 0.5) == []
    assert states(table) == {"w": False}
    assert pass_time(table, clock, TTL) == ["w"]


async def opened(clock: FakeClock, name: str, shelf: Shelf) -> Registry:
    table = LeaseTable(clock, settle=0, registry=name)
    registry = Registry(table, MemoryStore(name, shelf), WatchHub(table, name))
    await registry.open()
    await registry.tick()
    return registry


async def test_every_registrys_watchers_see_all_workers_of_all(clock: FakeClock) -> None:
    """Who keeps a worker says how old its lease is and how busy it is; the other says who keeps it."""
    shelf = Shelf()
    a, b = await opened(clock, "a", shelf), await opened(clock, "b", shelf)
    held = await a.register(worker("w"), 0, TTL)
    await a.renew(held.lease_id, held.epoch, load=pb.Load(running=2))
    [here] = (await anext(a.hub.follow())).snapshot.workers
    [there] = (await anext(b.hub.follow())).snapshot.workers
    assert (here.worker, here.keeper_id) == (there.worker, there.keeper_id) == (worker("w"), "a")
    assert (here.HasField("ttl"), here.load.running) == (True, 2)
    assert not any(there.HasField(name) for name in ("ttl", "last_renewal_age", "load"))


async def test_a_registry_without_its_store_sends_workers_elsewhere_and_serves_watchers(
    clock: FakeClock,
) -> None:
    """Renewals and registrations are told to come later, so that leases stay; the set is told as frozen."""
    registry = await opened(clock, "a", Shelf())
    held = await registry.register(worker("w"), 0, TTL)
    registry.out_of_reach("no quorum")
    for asked in (
        registry.renew(held.lease_id, held.epoch),
        registry.register(worker("x"), 0, TTL),
        registry.deregister(held.lease_id, held.epoch),
        registry.renew("unknown", 1),
    ):
        with pytest.raises(InferloomError, match="no quorum") as caught:
            await asked
        assert caught.value.reason is Reason.SERVER_OVERLOADED
    snapshot = (await anext(registry.hub.follow())).snapshot
    assert (len(snapshot.workers), snapshot.frozen, snapshot.settling) == (1, "no quorum", False)
    registry.out_of_reach(None)
    assert await registry.renew(held.lease_id, held.epoch) is held
    assert not (await anext(registry.hub.follow())).snapshot.frozen


async def test_a_change_is_told_once_with_its_load(clock: FakeClock) -> None:
    """A renewal that changes what lasts is one thing to watchers, not two."""
    registry = await opened(clock, "a", Shelf())
    held = await registry.register(worker("w"), 0, TTL)
    before = registry.table.revision
    await registry.renew(held.lease_id, held.epoch, load=pb.Load(running=3), capacity=9)
    assert registry.table.revision == before + 1
    [row] = (await anext(registry.hub.follow())).snapshot.workers
    assert (row.worker.capacity, row.load.running) == (9, 3)
