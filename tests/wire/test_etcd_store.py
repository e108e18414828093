"""The etcd store over a real etcd."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count

import pytest
from faulting.etcd import Cluster, etcd_cluster, etcdctl
from faulting.parts import free_ports

from inferloom.v1 import registry_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.net import Address
from inferloom_registry.etcd.client import EtcdClient
from inferloom_registry.etcd.lineage import Lineage
from inferloom_registry.stores import etcd as etcd_store
from inferloom_registry.stores.etcd import EtcdStore
from inferloom_registry.stores.protocol import Store
from tests.patience import PATIENCE_S, until_async
from tests.registry.samples import registration
from tests.registry.store_conformance import OpenStore, Recorder, StoreConformance
from tests.wire.etcd_needed import needs_etcd

pytestmark = needs_etcd

numbers = count()


@pytest.fixture(scope="module")
def etcd() -> Iterator[Cluster]:
    with etcd_cluster() as cluster:
        yield cluster


@pytest.fixture
def prefix() -> str:
    """Keys of this test's own."""
    return f"/test-{next(numbers)}/"


@pytest.fixture
async def open_store(etcd: Cluster, prefix: str) -> AsyncIterator[OpenStore]:
    stores: list[Store] = []

    async def open_store(recorder: Recorder) -> Store:
        store = EtcdStore(EtcdClient(etcd.addresses), f"registry-{next(numbers)}", prefix=prefix)
        stores.append(store)
        await store.open(recorder)
        return store

    yield open_store
    for store in stores:
        await store.close()


class TestEtcdStore(StoreConformance):
    """What every store must do."""


async def test_compaction_while_a_watch_is_broken_loses_nothing(
    etcd: Cluster, prefix: str, open_store: OpenStore
) -> None:
    """A registry whose revision was compacted meanwhile reads everything anew: what went is told as gone,
    what came or changed as stored."""
    told, others = Recorder(), Recorder()
    behind, writer = await open_store(told), await open_store(others)
    assert isinstance(behind, EtcdStore)
    for name in ("goes", "stays"):
        await writer.put(registration(name), None)
    await told.until(2)
    behind._tasks[0].cancel()  # its watch is broken
    await writer.remove(registration("goes"), pb.LEASE_LOSS_EXPIRED)
    await writer.put(registration("comes"), None)
    etcdctl(etcd.members[0].address, "compact", str(writer.floor))
    behind._tasks[0] = asyncio.create_task(behind._follow())
    heard = (await told.until(4))[2:]
    assert [(what, each.worker_id) for what, each in heard] == [
        ("stored", "comes"),
        ("LEASE_LOSS_UNKNOWN", "goes"),
    ]


async def test_epochs_start_above_all_that_went(open_store: OpenStore) -> None:
    """Nobody remembers the epoch of a removed registration, and its floor is above it all the same."""
    store = await open_store(Recorder())
    first = registration("a", epoch=store.floor + 1)
    await store.put(first, None)
    await store.remove(first, pb.LEASE_LOSS_EXPIRED)
    later = await open_store(Recorder())
    assert later.floor >= first.epoch


async def test_an_etcd_that_does_not_answer_is_said(prefix: str) -> None:
    """Opening fails as overload, with etcd's own words, so that whoever starts a registry knows why."""
    [port] = free_ports(1)
    store = EtcdStore(EtcdClient([Address("127.0.0.1", port)]), "r", prefix=prefix)
    with pytest.raises(InferloomError, match="etcd cannot be used") as caught:
        await store.open(Recorder())
    assert caught.value.reason is Reason.SERVER_OVERLOADED
    await store.close()


async def test_foreign_keys_and_values_are_left_alone(
    etcd: Cluster, prefix: str, open_store: OpenStore
) -> None:
    """What is no registration is neither told nor a reason to stop."""
    address = etcd.members[0].address
    etcdctl(address, "put", f"{prefix}workers/odd", "\x01\x02not a registration")
    etcdctl(address, "put", f"{prefix}else", "x")
    told = Recorder()
    store = await open_store(told)
    etcdctl(address, "put", f"{prefix}workers/odder", "\x01\x02nor this")
    await store.put(registration("a"), None)
    assert [each.worker_id for _, each in told.told] == ["a"]


@pytest.mark.slow
async def test_data_that_was_lost_is_missed_whatever_was_written_since(prefix: str) -> None:
    """Also where revisions are as high again before anybody looks."""
    with etcd_cluster() as cluster:
        told = Recorder()
        store = EtcdStore(EtcdClient(cluster.addresses), "one", prefix=prefix)
        await store.open(told)
        await store.put(registration("w"), None)
        cluster.members[0].kill()
        cluster.members[0].forget()
        cluster.start()
        for number in range(50):
            etcdctl(cluster.members[0].address, "put", "/elsewhere", str(number))
        later = Recorder()
        async with asyncio.timeout(PATIENCE_S):
            while not later.told:
                late = EtcdStore(EtcdClient(cluster.addresses), "two", prefix=prefix)
                with suppress(InferloomError):
                    await late.open(later)
                await late.close()
                await asyncio.sleep(0.1)
        assert {what for what, _ in told.told} == {"stored"}
        await store.close()


@pytest.mark.slow
async def test_an_etcd_that_lost_its_data_is_given_it_again(prefix: str) -> None:
    """Nobody is told that workers went, and a registry that starts then has them."""
    with etcd_cluster() as cluster:
        told = Recorder()
        store = EtcdStore(EtcdClient(cluster.addresses), "one", prefix=prefix)
        await store.open(told)
        for number in range(20):
            await store.put(registration(f"w{number}"), None)
        cluster.members[0].kill()
        cluster.members[0].forget()
        cluster.start()
        later = Recorder()
        async with asyncio.timeout(PATIENCE_S):
            while len(later.told) < 20:
                late = EtcdStore(EtcdClient(cluster.addresses), "two", prefix=prefix)
                later = Recorder()
                with suppress(InferloomError):
                    await late.open(later)
                await late.close()
        assert {what for what, _ in told.told} == {"stored"}
        await store.put(replace(registration("w0"), changes=1), registration("w0"))
        await store.close()


async def test_a_write_during_a_look_at_etcd_is_no_loss_of_data(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A look's revision may be older than what the watch has told of by the time that its answer is read.
    Taken for an etcd that was put back, it made the store read an older snapshot over newer changes."""
    looks = 0
    original = Lineage.look

    async def look(self: Lineage, timeout: float) -> tuple[bool, int]:
        nonlocal looks
        answer = await original(self, timeout)
        await store.put(registration(f"w{looks}", epoch=store.floor + 1), None)
        looks += 1
        return answer

    monkeypatch.setattr(Lineage, "look", look)
    monkeypatch.setattr(etcd_store, "PROBE_S", 0.01)
    store = await open_store(Recorder())
    await until_async(lambda: looks >= 3, "three looks")
    assert "as it was earlier" not in caplog.text
