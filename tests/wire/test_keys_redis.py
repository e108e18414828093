"""Keys and limits in a real Redis: the store, the counts, and two gateways."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from inferloom_gateway.access.api_key import ApiKey, Limits, Policy
from inferloom_gateway.access.key_text import digest_of, new_key
from inferloom_gateway.access.limits import redis_counts
from inferloom_gateway.access.limits.counts import Ask, CountsAwayError, Refused, Taken
from inferloom_gateway.access.limits.redis_counts import RedisCounts
from inferloom_gateway.access.limits.redis_scripts import TAKE
from inferloom_gateway.access.stores.opening import open_store
from inferloom_gateway.access.stores.protocol import Flush, StoreError, Usage, shown_place
from inferloom_gateway.access.stores.redis import RedisStore
from tests.patience import PATIENCE_S, within
from tests.wire.fake_worker import FakeWorker
from tests.wire.gateway_mesh import gateway_mesh
from tests.wire.redis_server import RedisServer, needs_redis, redis_server

pytestmark = needs_redis

SECRET = "a secret of this mesh"
HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    """One server for tests that leave it running."""
    with redis_server() as server:
        yield server


@pytest.fixture
def redis(shared: RedisServer) -> RedisServer:
    """That server, empty."""
    from redis import Redis

    with Redis.from_url(shared.url) as client:
        client.flushall()
    return shared


@pytest.fixture
async def counts(redis: RedisServer) -> AsyncIterator[tuple[RedisCounts, RedisCounts]]:
    """Two gateways' counts."""
    async with AsyncExitStack() as stack:
        made = RedisCounts(redis.url), RedisCounts(redis.url)
        for each in made:
            await stack.enter_async_context(each.working())
        yield made


def made(store: RedisStore, **more: Any) -> str:
    """Make a key; return all of it."""
    name, text = new_key()
    store.put_key(ApiKey(name, digest_of(text), "acme", **more))
    return text


def test_the_store_keeps_keys_policies_and_usage(redis: RedisServer) -> None:
    """As the one in a file does."""
    store = open_store(redis.url)
    first = store.revision()
    key = ApiKey("0" * 12, "d", "acme", models=("a", "b"), limits=Limits(5))
    store.put_key(key)
    store.put_policy("tenant", "a:b*", Policy(share=2))
    revision, ring = store.read()
    assert revision == store.revision() != first
    assert ring.keys == {key.id: key}
    assert ring.tenants == {"a:b*": Policy(share=2)}
    limited = store.change_key(key.id, lambda held: replace(held, limits=Limits(None, 7)))
    assert limited == store.read()[1].keys[key.id] == replace(key, limits=Limits(None, 7))
    revision = store.revision()
    assert store.change_key(key.id, lambda held: held) == limited
    assert store.change_key("1" * 12, lambda held: held) is None
    assert store.revision() == revision
    store.put_policy("tenant", "a:b*", None)
    assert not store.read()[1].tenants
    today = time.strftime("%Y-%m-%d", time.gmtime())
    for number in (1, 2, 2, 1):  # Redis counted it, and answered too late
        store.add_usage(Flush("a", number, [Usage(today, key.id, 1, 20, 3)]))
    assert store.usage(today) == [Usage(today, key.id, 2, 40, 6)]
    yesterday = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400))
    store.add_usage(Flush("b", 1, [Usage(yesterday, "k", 1, 2, 3), Usage(today, key.id, 1, 0, 0)]))
    assert store.usage(yesterday) == [Usage(yesterday, "k", 1, 2, 3), Usage(today, key.id, 3, 40, 6)]
    assert store.usage("9999-01-01") == []
    store.close()


def test_a_change_is_tried_again_where_somebody_was_faster(redis: RedisServer) -> None:
    """What he changed is not lost."""
    store, other = RedisStore(redis.url), RedisStore(redis.url)
    key = ApiKey("0" * 12, "d", "acme")
    store.put_key(key)
    asked: list[ApiKey] = []

    def limited(held: ApiKey) -> ApiKey:
        if not asked:
            other.change_key(key.id, lambda each: replace(each, revoked=1.0))
        asked.append(held)
        return replace(held, limits=Limits(5))

    assert store.change_key(key.id, limited) == replace(key, revoked=1.0, limits=Limits(5))
    assert len(asked) == 2
    store.close()
    other.close()


def test_a_redis_that_is_not_there_is_told_without_its_password() -> None:
    """The error names the place."""
    with pytest.raises(StoreError) as caught:
        open_store("redis://:secret@127.0.0.1:1/0").revision()
    assert "127.0.0.1:1" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert shown_place("redis://u:p@h:1/0") == "redis://h:1/0"


async def test_two_gateways_count_together(counts: tuple[RedisCounts, RedisCounts]) -> None:
    """Requests, tokens and what runs; nothing is counted of what is refused."""
    one, two = counts
    asks = [Ask("key:a", Limits(3, 100)), Ask("tenant:t", Limits(None, None, 2))]
    first = await one.take(asks, 40, enters=True)
    second = await two.take(asks, 40, enters=True)
    assert isinstance(first, Taken)
    assert isinstance(second, Taken)
    assert (second.levels[0].requests, second.levels[0].tokens) == (2, 80)
    assert 59 < second.levels[0].reset_s <= 60.25
    crowded = await one.take(asks, 1, enters=True)
    assert isinstance(crowded, Refused)
    assert (crowded.ask, crowded.kind, crowded.used, crowded.wait_s) == (asks[1], "concurrent", 2, None)
    one.settle(asks, [first], 10)
    async with asyncio.timeout(PATIENCE_S):
        while isinstance(third := await two.take(asks, 30, enters=True), Refused):
            assert third.kind == "concurrent" or third.used > 50
    assert (third.levels[0].requests, third.levels[0].tokens) == (3, 80)
    two.settle(asks, [second], 40)
    two.settle(asks, [third], 30)
    fourth = await one.take([asks[0]], 1, enters=True)
    assert isinstance(fourth, Refused)
    assert (fourth.kind, fourth.used) == ("requests", 3)
    assert fourth.wait_s is not None
    assert 58 < fourth.wait_s <= 60.25
    more = await one.take([asks[0]], 20, enters=False)  # more tokens of a request that has entered
    assert isinstance(more, Taken)
    too_much = await one.take([asks[0]], 20, enters=False)
    assert isinstance(too_much, Refused)
    assert too_much.kind == "tokens"


async def test_more_than_was_reserved_is_added(counts: tuple[RedisCounts, RedisCounts]) -> None:
    """What a request overshoots, the next one finds."""
    one, two = counts
    asks = [Ask("key:b", Limits(None, 100))]
    taken = await one.take(asks, 10, enters=True)
    assert isinstance(taken, Taken)
    one.settle(asks, [taken], 95)
    async with asyncio.timeout(PATIENCE_S):
        while not isinstance(refused := await two.take(asks, 6, enters=True), Refused) or refused.used != 95:
            if isinstance(refused, Taken):
                two.settle(asks, [refused], 0)


async def test_a_gateway_that_is_gone_runs_nothing(
    redis: RedisServer, counts: tuple[RedisCounts, RedisCounts], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed one ran counts until it is taken for dead."""
    one, _ = counts
    script = TAKE.replace("ALIVE_MS = 250, 241, 10000", "ALIVE_MS = 250, 241, 300")
    assert script != TAKE
    monkeypatch.setattr(redis_counts, "TAKE", script)
    killed = RedisCounts(redis.url)
    asks = [Ask("key:c", Limits(None, None, 1))]
    assert isinstance(await killed.take(asks, 0, enters=True), Taken)
    await killed._redis.aclose()
    assert isinstance(await one.take(asks, 0, enters=True), Refused)
    await asyncio.sleep(0.4)  # Redis has a clock of its own
    assert isinstance(await one.take(asks, 0, enters=True), Taken)


async def has_room(counts: RedisCounts, asks: list[Ask]) -> None:
    """Wait until a request has room."""
    async with asyncio.timeout(PATIENCE_S):
        while isinstance(await counts.take(asks, 0, enters=True), Refused):
            pass  # each look gives way to what is settled


@pytest.mark.parametrize("late", [False, True])
async def test_a_request_that_was_given_up_runs_nowhere(
    counts: tuple[RedisCounts, RedisCounts], monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """Whether Redis had counted it by then, or does so afterwards."""
    one, two = counts
    asks, take, sent = [Ask("key:e", Limits(None, None, 1))], one._take, list[Any]()

    async def unheard(**asked: Any) -> None:
        sent.append(asked)
        if not late:
            await take(**asked)
        raise TimeoutError

    monkeypatch.setattr(one, "_take", unheard)
    with pytest.raises(CountsAwayError):
        await one.take(asks, 0, enters=True)
    if late:
        await asyncio.sleep(0.1)  # so that it usually comes after what undoes it; it may come before, too
        await take(**sent[0])
    await has_room(two, asks)


async def test_what_ends_beside_a_request_that_is_refused_runs_no_more(
    counts: tuple[RedisCounts, RedisCounts], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the other was still counted when it ended."""
    one, two = counts
    asks, take = [Ask("key:f", Limits(None, None, 1))], one._take
    counted, ended = asyncio.Event(), asyncio.Event()
    first = await one.take(asks, 0, enters=True)
    assert isinstance(first, Taken)

    async def slow(**asked: Any) -> Any:
        answer = await take(**asked)
        counted.set()
        await ended.wait()
        return answer

    monkeypatch.setattr(one, "_take", slow)
    second = asyncio.create_task(one.take(asks, 0, enters=True))
    await asyncio.wait_for(counted.wait(), PATIENCE_S)
    one.settle(asks, [first], 0)
    await asyncio.sleep(0.1)  # so that Redis usually has it before the other is refused; it need not
    ended.set()
    assert isinstance(await second, Refused)
    await has_room(two, asks)


async def test_a_request_is_settled_once(
    counts: tuple[RedisCounts, RedisCounts], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it is sent twice, as Redis's answer was lost: what others have reserved stays."""
    from redis.asyncio.client import Pipeline

    one, two = counts
    execute, sent, again = Pipeline.execute, 0, asyncio.Event()

    async def unheard(pipeline: Pipeline, *more: Any) -> Any:
        nonlocal sent
        answer = await execute(pipeline, *more)
        sent += 1
        if sent == 1:
            raise TimeoutError
        again.set()
        return answer

    monkeypatch.setattr(redis_counts, "_RETRY_S", 0.01)
    monkeypatch.setattr(Pipeline, "execute", unheard)
    asks = [Ask("key:g", Limits(None, 100))]
    first = await one.take(asks, 40, enters=True)
    assert isinstance(first, Taken)
    await two.take(asks, 40, enters=True)
    one.settle(asks, [first], 10)
    async with asyncio.timeout(PATIENCE_S):
        await again.wait()
    now = await two.take(asks, 0, enters=True)
    assert isinstance(now, Taken)
    assert now.levels[0].tokens == 50


async def test_who_cannot_count_says_so(redis: RedisServer) -> None:
    """And what was to be settled is settled later."""
    with redis_server() as server:
        counts = RedisCounts(server.url)
        async with counts.working():
            asks = [Ask("key:d", Limits(None, 100))]
            taken = await counts.take(asks, 60, enters=True)
            assert isinstance(taken, Taken)
            server.stop()
            with pytest.raises(CountsAwayError):
                await counts.take(asks, 1, enters=True)
            counts.settle(asks, [taken], 5)
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(PATIENCE_S):
                while isinstance(again := await counts.take(asks, 90, enters=True), Refused):
                    pass  # each look gives way to what is settled
            assert isinstance(again, Taken)
            assert again.levels[0].tokens == 95


async def test_two_gateways_share_keys_and_limits(redis: RedisServer) -> None:
    """A limit holds for both together, and a revocation reaches both within five seconds."""
    store = RedisStore(redis.url)
    key = made(store, limits=Limits(requests_per_minute=10))
    shown = {"authorization": f"Bearer {key}"}
    body = {"model": "chat-model", "messages": HELLO}
    async with (
        gateway_mesh(FakeWorker(), keys=redis.url, mesh_secret=SECRET) as one,
        gateway_mesh(FakeWorker(), keys=redis.url, mesh_secret=SECRET) as two,
    ):

        async def ask(number: int) -> int:
            mesh = (one, two)[number % 2]
            return (await mesh.http.post("/v1/chat/completions", json=body, headers=shown)).status_code

        statuses = await asyncio.gather(*map(ask, range(24)))
        assert sorted(statuses) == [200] * 10 + [429] * 14
        (found,) = store.read()[1].keys.values()
        store.put_key(replace(found, revoked=time.time()))
        async with within(5):
            for mesh in (one, two):
                while (await mesh.http.get("/v1/models", headers=shown)).status_code != 401:
                    pass  # each look is a request that gives way to everything else
    (row,) = store.usage("2000-01-01")
    assert (row.requests, row.prompt_tokens, row.completion_tokens) == (10, 70, 30)
