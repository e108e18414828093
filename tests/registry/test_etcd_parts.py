"""The etcd store's parts that need no etcd."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from inferloom.etcd import etcd_pb2 as etcd
from inferloom.v1 import registry_pb2 as pb
from inferloom_registry.etcd.faults import EtcdError
from inferloom_registry.etcd.methods import GRANT
from inferloom_registry.etcd.presence import Presence
from inferloom_registry.etcd.progress import Progress
from inferloom_registry.etcd.watching import range_end
from inferloom_registry.stores.etcd_keys import Keys, end_value, from_value, to_value
from inferloom_registry.stores.etcd_set import EtcdSet
from inferloom_registry.stores.etcd_writes import MOST, Writes
from tests.patience import until_async
from tests.registry.samples import registration
from tests.registry.store_conformance import Recorder

KEYS = Keys(b"/p/")


class FakeClient:
    """Notes transactions; those with a key in ``changed`` do not succeed."""

    def __init__(self) -> None:
        self.asked: list[etcd.TxnRequest] = []
        self.changed: set[bytes] = set()
        self.go = asyncio.Event()
        self.fails = False

    async def call(self, method: Any, request: etcd.TxnRequest) -> etcd.TxnResponse:
        self.asked.append(request)
        await self.go.wait()
        if self.fails:
            raise EtcdError("no leader")
        return etcd.TxnResponse(succeeded=not any(each.key in self.changed for each in request.compare))


def swap(writes: Writes, name: str, count: int = 1) -> "asyncio.Task[etcd.TxnResponse]":
    write = etcd.RequestOp(request_put=etcd.PutRequest(key=name.encode(), value=b"v"))
    still = etcd.Compare(target=etcd.Compare.MOD, key=name.encode(), mod_revision=1)
    return asyncio.create_task(writes.swap(still, [write] * count))


async def begun() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_writes_that_wait_share_a_transaction() -> None:
    """Two are under way at once; what comes meanwhile goes together, so many at most, and each key once."""
    client = FakeClient()
    writes = Writes(client)  # type: ignore[arg-type] # a fake
    tasks = []
    for number in range(2 + MOST + 1):
        tasks.append(swap(writes, f"k{number}"))
        await begun()
    tasks.append(swap(writes, f"k{2 + MOST}"))
    client.go.set()
    assert all(each.succeeded for each in await asyncio.gather(*tasks))
    assert [len(each.success) for each in client.asked] == [1, 1, MOST, 1, 1]


async def test_one_that_lost_does_not_take_the_others_along() -> None:
    """A transaction that was not done is tried write by write, and only the one that lost hears of it."""
    client = FakeClient()
    client.changed.add(b"k3")
    writes = Writes(client)  # type: ignore[arg-type] # a fake
    tasks = [swap(writes, f"k{number}") for number in range(5)]
    client.go.set()
    assert [(await task).succeeded for task in tasks] == [True, True, True, False, True]


async def test_writes_of_several_steps_go_by_themselves() -> None:
    """A removal, which writes another key too."""
    client = FakeClient()
    writes = Writes(client)  # type: ignore[arg-type] # a fake
    tasks = [swap(writes, "a"), swap(writes, "b"), swap(writes, "c"), swap(writes, "d", 2), swap(writes, "e")]
    client.go.set()
    await asyncio.gather(*tasks)
    assert [len(each.success) for each in client.asked] == [1, 1, 1, 2, 1]


async def test_a_transaction_that_fails_is_told_to_all_of_it() -> None:
    """And the next one is made all the same."""
    client = FakeClient()
    client.fails = True
    writes = Writes(client)  # type: ignore[arg-type] # a fake
    tasks = [swap(writes, f"k{number}") for number in range(6)]
    client.go.set()
    assert all(isinstance(each, EtcdError) for each in await asyncio.gather(*tasks, return_exceptions=True))
    client.fails = False
    assert (await swap(writes, "k")).succeeded
    await writes.close()


async def test_who_waits_for_a_revision_is_woken_once_it_was_heard() -> None:
    """Not before, and also by a later one."""
    progress = Progress(lambda: 0.0)
    waiting = [asyncio.create_task(progress.reach(revision)) for revision in (5, 3, 4)]
    await begun()
    progress.hear(3)
    await begun()
    assert [task.done() for task in waiting] == [False, True, False]
    progress.hear(9)
    await asyncio.gather(*waiting)
    await progress.reach(9)


def pair(revision: int, name: str = "w", **changed: Any) -> etcd.KeyValue:
    value = to_value(registration(name))
    return etcd.KeyValue(key=KEYS.worker(name), value=changed.get("value", value), mod_revision=revision)


def put(revision: int, name: str = "w", **changed: Any) -> etcd.Event:
    return etcd.Event(type=etcd.Event.PUT, kv=pair(revision, name, **changed))


@pytest.fixture
def told() -> Recorder:
    return Recorder()


def test_a_registration_is_kept_as_it_is() -> None:
    """What comes back is what was written."""
    assert from_value(to_value(registration("a", "m", "n"))) == registration("a", "m", "n")


def test_a_prefix_ends_before_what_begins_otherwise() -> None:
    """The range of a prefix holds what begins with it only."""
    assert b"/p/" <= b"/p/workers/x" < range_end(b"/p/") <= b"/p0"


async def test_an_end_is_told_with_its_reason(told: Recorder) -> None:
    """It is another key of the same transaction, behind the deletion or before it."""
    held = EtcdSet(KEYS, "r", told, lambda: None)
    held.change([put(1)])
    end = end_value(registration("w"), pb.LEASE_LOSS_EXPIRED)
    deleted = etcd.Event(type=etcd.Event.DELETE, kv=etcd.KeyValue(key=KEYS.worker("w"), mod_revision=2))
    held.change([deleted, etcd.Event(kv=etcd.KeyValue(key=KEYS.ended("r"), value=end, mod_revision=2))])
    held.change([put(3), deleted])
    assert [what for what, _ in told.told] == ["stored", "LEASE_LOSS_EXPIRED", "stored", "LEASE_LOSS_UNKNOWN"]


@pytest.mark.parametrize("value", [b"\xff\xff", to_value(registration("other"))])
async def test_what_is_no_registration_of_its_worker_is_left_alone(told: Recorder, value: bytes) -> None:
    """Somebody else wrote there; the rest of the set goes on."""
    held = EtcdSet(KEYS, "r", told, lambda: None)
    held.change([put(1, value=value), put(2, "good")])
    assert [each.worker_id for _, each in told.told] == ["good"]


async def test_an_end_that_cannot_be_read_is_no_reason_to_stop(told: Recorder) -> None:
    """Its worker is gone all the same."""
    held = EtcdSet(KEYS, "r", told, lambda: None)
    held.change([put(1)])
    deleted = etcd.Event(type=etcd.Event.DELETE, kv=etcd.KeyValue(key=KEYS.worker("w"), mod_revision=2))
    broken = etcd.KeyValue(key=KEYS.ended("r"), value=b"\xff\xff", mod_revision=2)
    held.change([deleted, etcd.Event(kv=broken)])
    assert told.told[-1][0] == "LEASE_LOSS_UNKNOWN"


async def test_a_registry_whose_own_key_went_is_told(told: Recorder) -> None:
    """So that it writes it again; the others come and go."""
    absent: list[bool] = []
    held = EtcdSet(KEYS, "me", told, lambda: absent.append(True))
    me, other = (etcd.KeyValue(key=KEYS.registry(name), mod_revision=1) for name in ("me", "other"))
    held.replace([me, other])
    assert (told.present, absent) == (frozenset({"me", "other"}), [])
    held.change([etcd.Event(type=etcd.Event.DELETE, kv=other)])
    held.change([etcd.Event(type=etcd.Event.DELETE, kv=me)])
    assert (told.present, absent) == (frozenset(), [True])


class Leases:
    """An etcd of leases and keys. Of the calls of the key, those in ``failing`` fail."""

    def __init__(self, *failing: int) -> None:
        self.keys: dict[bytes, int] = {}
        self.granted = 0
        self._failing = failing
        self._puts = 0
        self._answers: asyncio.Queue[etcd.LeaseKeepAliveResponse] = asyncio.Queue()

    async def call(self, method: Any, request: Any) -> Any:
        if method is GRANT:
            self.granted += 1
            return etcd.LeaseGrantResponse(ID=self.granted, TTL=request.TTL)
        self._puts += 1
        if self._puts in self._failing:
            raise EtcdError("UNAVAILABLE: connection refused")
        self.keys[request.key] = request.lease
        return etcd.PutResponse()

    @asynccontextmanager
    async def stream(self, method: Any) -> AsyncIterator["Leases"]:
        yield self

    async def write(self, request: etcd.LeaseKeepAliveRequest) -> None:
        self._answers.put_nowait(etcd.LeaseKeepAliveResponse(ID=request.ID, TTL=6))

    async def read(self, timeout: float) -> etcd.LeaseKeepAliveResponse:
        return await self._answers.get()


async def test_a_registry_that_has_a_lease_has_its_key() -> None:
    """Also where etcd went away between the two: others would take it for gone while it renews, and let its
    workers go."""
    client = Leases(1, 3)
    presence = Presence(client, b"/p/registries/r", b"here")  # type: ignore[arg-type] # a fake
    with pytest.raises(EtcdError):
        await presence.begin()
    keeping = asyncio.create_task(presence.keep())
    for lease in (2, 4):  # the third is one whose key failed again
        await until_async(lambda: client.keys, "the key", bool)
        assert client.keys == {b"/p/registries/r": lease}
        assert presence.lease == lease
        client.keys.clear()
        presence.lost()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
