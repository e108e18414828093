"""What every store must do.

A store's tests subclass :class:`StoreConformance` and give it the fixture ``open_store``, which makes
stores that share what they keep, as those of several registries do.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from inferloom.v1 import registry_pb2 as pb
from inferloom_registry.registration import Registration
from inferloom_registry.stores.protocol import Store
from tests.patience import until_async
from tests.registry.samples import registration, worker

OpenStore = Callable[["Recorder"], Awaitable[Store]]


class Recorder:
    """Follows a store and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Registration]] = []
        self.present: frozenset[str] = frozenset()
        self.away: list[str | None] = []

    def stored(self, registration: Registration) -> None:
        self.told.append(("stored", registration))

    def removed(self, registration: Registration, reason: pb.LeaseLoss.ValueType) -> None:
        self.told.append((pb.LeaseLoss.Name(reason), registration))

    def registries(self, present: frozenset[str]) -> None:
        self.present = present

    def out_of_reach(self, why: str | None) -> None:
        self.away.append(why)

    async def until_true(self, holds: Callable[[], bool]) -> None:
        """Wait until something that depends on what was told holds."""
        await until_async(lambda: (holds(), self.told, self.present, self.away), "it", lambda seen: seen[0])

    async def until(self, count: int) -> list[tuple[str, Registration]]:
        """What was told, once it is ``count`` things."""
        return await until_async(lambda: self.told, f"{count} things", lambda told: len(told) >= count)


class StoreConformance:
    """The tests."""

    async def test_the_first_put_is_stored_and_told(self, open_store: OpenStore) -> None:
        """A registration of an unknown worker is stored, and told before put returns."""
        recorder = Recorder()
        store = await open_store(recorder)
        first = replace(registration("a", "m", "n"), registered_at=12.5, keeper="r")
        assert await store.put(first, None)
        assert recorder.told == [("stored", first)]

    async def test_a_second_first_put_loses(self, open_store: OpenStore) -> None:
        """Of two registries that both think a worker is new, one wins; the other knows by then."""
        one, two = Recorder(), Recorder()
        winner, loser = await open_store(one), await open_store(two)
        assert await winner.put(registration("a", lease_id="one"), None)
        assert not await loser.put(registration("a", lease_id="two"), None)
        assert two.told == [("stored", registration("a", lease_id="one"))]

    async def test_a_put_replaces_what_it_was_decided_on(self, open_store: OpenStore) -> None:
        """A newer epoch replaces the older."""
        recorder = Recorder()
        store = await open_store(recorder)
        old, new = registration("a", epoch=1), registration("a", epoch=2)
        assert await store.put(old, None)
        assert await store.put(new, old)
        assert recorder.told == [("stored", old), ("stored", new)]

    async def test_a_put_decided_on_an_old_version_loses(self, open_store: OpenStore) -> None:
        """Two changes of one version: the second loses, and nothing is told of it."""
        recorder = Recorder()
        store = await open_store(recorder)
        first = registration("a")
        drained = replace(first, worker=worker("a", state=pb.WORKER_STATE_DRAINING), changes=1)
        await store.put(first, None)
        assert await store.put(drained, first)
        assert not await store.put(replace(first, changes=1), first)
        assert recorder.told == [("stored", first), ("stored", drained)]

    async def test_a_put_that_replaces_something_needs_it(self, open_store: OpenStore) -> None:
        """A renewal of a registration that was removed meanwhile is not stored."""
        store = await open_store(Recorder())
        first = registration("a")
        assert not await store.put(replace(first, changes=1), first)

    async def test_a_removal_is_told_with_its_reason(self, open_store: OpenStore) -> None:
        """What was removed can be put as new again."""
        recorder = Recorder()
        store = await open_store(recorder)
        first = registration("a")
        await store.put(first, None)
        assert await store.remove(first, pb.LEASE_LOSS_DEREGISTERED)
        assert recorder.told[-1] == ("LEASE_LOSS_DEREGISTERED", first)
        assert await store.put(first, None)

    async def test_a_removal_decided_on_an_old_version_loses(self, open_store: OpenStore) -> None:
        """A worker that changed elsewhere is not removed as expired."""
        store = await open_store(Recorder())
        first = registration("a")
        renewed = replace(first, changes=1)
        await store.put(first, None)
        await store.put(renewed, first)
        assert not await store.remove(first, pb.LEASE_LOSS_EXPIRED)
        assert await store.remove(renewed, pb.LEASE_LOSS_EXPIRED)
        assert not await store.remove(renewed, pb.LEASE_LOSS_EXPIRED)

    async def test_workers_do_not_disturb_each_other(self, open_store: OpenStore) -> None:
        """Writes of one worker leave another's alone."""
        store = await open_store(Recorder())
        a, b = registration("a"), registration("b")
        assert await store.put(a, None)
        assert await store.put(b, None)
        assert await store.remove(a, pb.LEASE_LOSS_EXPIRED)
        assert await store.put(replace(b, changes=1), b)

    async def test_a_store_that_opens_is_told_what_is_there(self, open_store: OpenStore) -> None:
        """A registry that starts takes over the registrations of those that ran before."""
        store = await open_store(Recorder())
        a, b = registration("a"), registration("b")
        for each in (a, b):
            await store.put(each, None)
        await store.close()
        late = Recorder()
        await open_store(late)
        assert sorted(each.worker_id for _, each in late.told) == ["a", "b"]
        assert {what for what, _ in late.told} == {"stored"}

    async def test_every_registry_is_told_of_every_write_in_order(self, open_store: OpenStore) -> None:
        """Writes through one store reach the follower of another."""
        one, two = Recorder(), Recorder()
        writer = await open_store(one)
        await open_store(two)
        first = registration("a")
        second = replace(first, changes=1)
        await writer.put(first, None)
        await writer.put(second, first)
        await writer.remove(second, pb.LEASE_LOSS_DEREGISTERED)
        assert [each for _, each in await two.until(3)] == [first, second, second]

    async def test_who_catches_up_has_been_told_of_all_that_was_written(self, open_store: OpenStore) -> None:
        """A write through another store is told before catch_up returns."""
        one, two = Recorder(), Recorder()
        writer, reader = await open_store(one), await open_store(two)
        await writer.put(registration("a"), None)
        await writer.remove(registration("a"), pb.LEASE_LOSS_EXPIRED)
        await writer.put(registration("b"), None)
        await reader.catch_up()
        assert two.told == one.told

    async def test_registries_are_told_of_each_other(self, open_store: OpenStore) -> None:
        """Who opens is there for all, and who closes is not."""
        one, two = Recorder(), Recorder()
        await open_store(one)
        other = await open_store(two)
        await one.until_true(lambda: len(one.present) == 2)
        await two.until_true(lambda: two.present == one.present)
        await other.close()
        await one.until_true(lambda: len(one.present) == 1)

    async def test_a_closed_store_tells_nothing(self, open_store: OpenStore) -> None:
        """After close the follower is left alone; closing twice is no error."""
        one, two = Recorder(), Recorder()
        closed, writer = await open_store(one), await open_store(two)
        await closed.close()
        await closed.close()
        await writer.put(registration("a"), None)
        assert one.told == []
