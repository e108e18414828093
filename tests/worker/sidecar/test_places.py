"""Whose turn it is at a server."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.embed.options import Caller
from inferloom_worker.engine.queue_bound import QueueBound
from inferloom_worker.engines.sidecar.address import ServerAddress
from inferloom_worker.engines.sidecar.client import Client
from inferloom_worker.engines.sidecar.facts import Facts
from inferloom_worker.engines.sidecar.key import no_key
from inferloom_worker.engines.sidecar.kinds import ServerKind
from inferloom_worker.engines.sidecar.places import Place, Places
from inferloom_worker.hosting.sidecar.posts import Posts
from inferloom_worker.hosting.sidecar.vectors import ServerEmbedder


async def test_places_are_given_by_priority_and_by_tenants_in_turn() -> None:
    """Who leaves the queue holds nobody up."""
    places = Places(1, QueueBound(8, 60))
    first = places.join(1, "a", 0, None)
    order: list[str] = []

    async def stand(name: str, tenant: str, priority: int) -> None:
        place = places.join(1, tenant, priority, None)
        try:
            await place.come()
            order.append(name)
        finally:
            place.leave()

    tasks = []
    for each in (("a1", "a", 0), ("a2", "a", 0), ("b1", "b", 0), ("low", "c", -5), ("gone", "d", 0)):
        tasks.append(asyncio.create_task(stand(*each)))
        await asyncio.sleep(0)
    tasks[-1].cancel()
    await asyncio.sleep(0)
    assert (places.taken, places.waiting) == (1, 4)
    first.leave()
    first.leave()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == ["a1", "b1", "a2", "low"]
    assert (places.taken, places.waiting) == (0, 0)


@settings(max_examples=40)
@given(
    st.tuples(st.just(1), st.lists(st.tuples(st.integers(1, 6), st.just(1)), min_size=2, max_size=5))
    | st.tuples(st.just(4), st.lists(st.tuples(st.integers(4, 8), st.integers(1, 4)), min_size=2, max_size=5))
)
def test_tenants_that_always_wait_get_as_many_places(given: tuple[int, list[tuple[int, int]]]) -> None:
    """However many of their requests wait, and however many places each takes."""
    slots, tenants = given

    async def run() -> list[int]:
        places = Places(slots, QueueBound(10_000, 1e9))
        held = [places.join(slots, "before", 0, None)]
        waiting: list[list[Place]] = [[] for _ in tenants]
        had = [0] * len(tenants)
        for _ in range(200):
            for name, (many, count) in enumerate(tenants):
                while len(waiting[name]) < many:
                    waiting[name].append(places.join(count, f"{name}", 0, None))
            held.pop(0).leave()
            for name, (_, count) in enumerate(tenants):
                come = [place for place in waiting[name] if place.here]
                waiting[name] = [place for place in waiting[name] if not place.here]
                held += come
                had[name] += count * len(come)
        assert places.taken <= slots
        return had

    had = asyncio.run(run())
    assert max(had) - min(had) <= 2 * slots, had


async def test_who_always_has_one_waiting_does_not_starve_the_others() -> None:
    """He has had his turn when he comes again."""
    places = Places(1, QueueBound(8, 1e9))
    held = places.join(1, "busy", 0, None)
    patient = [places.join(1, "patient", 0, None) for _ in range(3)]
    for _ in range(6):
        again = places.join(1, "busy", 0, None)
        held.leave()
        held = next(place for place in (again, *patient) if place.here and place is not held)
        patient = [place for place in patient if not place.here]
        if held is not again:
            again.leave()
    assert not patient
    held.leave()
    assert (places.taken, places.waiting) == (0, 0)


async def test_more_places_are_given_at_once() -> None:
    """And who has one of fewer keeps it."""
    places = Places(1, QueueBound(8, 1e9))
    first, second = (places.join(1, tenant, 0, None) for tenant in "ab")
    assert (first.here, second.here) == (True, False)
    places.resize(2)
    assert second.here
    places.resize(1)
    assert places.taken == 2


async def test_who_goes_first_and_fits_does_not_wait_for_who_does_not() -> None:
    """A place is free, and those that wait come after him."""
    places = Places(4, QueueBound(8, 1e9))
    places.join(3, "a", 0, None)
    low = places.join(2, "a", -1, None)
    assert places.join(1, "a", 0, None).here
    assert not low.here
    assert (places.taken, places.waiting) == (4, 2)


async def test_requests_for_vectors_wait_in_a_bounded_queue() -> None:
    """And those that are left before they begin leave no place taken."""
    go, asked = asyncio.Event(), list[str]()

    class OneClient(Client):
        async def post(self, url: str, body: object) -> dict[str, Any]:
            asked.append(url)
            await go.wait()
            return {"data": [{"index": 0, "embedding": [1.0]}]}

    async def as_it_is(error: InferloomError) -> InferloomError:
        return error

    facts = Facts(kind=ServerKind.LLAMA, version="", model="m", tasks=frozenset({"embed"}), dimensions=1)
    places = Places(1, QueueBound(1, 1e9))
    client = OneClient(ServerAddress.parse("http://h"), no_key)
    embedder = ServerEmbedder(Posts(client, places, as_it_is), facts)
    streams = [embedder.embed([[1]], Caller(tenant=tenant)) for tenant in "ab"]
    with pytest.raises(InferloomError) as caught:
        embedder.embed([[1]], Caller(tenant="a"))
    assert caught.value.reason is Reason.SERVER_OVERLOADED
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (places.taken, places.waiting, len(asked)) == (1, 1, 1)
    go.set()
    for stream in streams:
        assert [rows.tolist() async for _, rows in stream] == [[[1.0]]]
    await asyncio.sleep(0.01)
    streams = [embedder.embed([[1]], Caller(tenant=tenant)) for tenant in "ab"]
    for stream in streams:
        stream.close()
    await asyncio.sleep(0.01)
    assert (places.taken, places.waiting) == (0, 0)


async def test_a_full_queue_refuses() -> None:
    """As every other model's."""
    places = Places(1, QueueBound(1, 60))
    held = [places.join(1, "a", 0, None), places.join(1, "a", 0, None)]
    with pytest.raises(InferloomError) as caught:
        places.join(1, "a", 0, None)
    assert caught.value.reason is Reason.SERVER_OVERLOADED
    for place in reversed(held):
        place.leave()
    assert places.taken == 0
