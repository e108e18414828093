"""Resumable streams whose readers leave, hurry, or are too many: none of that is the stream's affair."""

import asyncio
import sqlite3
import time
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.contract import resumable
from inferloom_gateway.storage.streams import KeptStream
from inferloom_gateway.streams import desk
from inferloom_gateway.streams.book import Book
from inferloom_gateway.streams.claims import Claims
from inferloom_mesh.errors import Reason
from tests.patience import PATIENCE_S, undisturbed, until_async
from tests.wire.contract_clients import RefusedError, responses
from tests.wire.fake_worker import FakeWorker
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.running_worker import error_of
from tests.wire.test_gateway_migration import WORDS, worker
from tests.wire.test_resumable_calls import ASKED, CHAT, GENERATE, begin, rest
from tests.wire.test_resumable_streams import BODY, header, slow, whole


def sql(store: Path, words: str) -> list[Any]:
    """Change what is in a store, or read it."""
    with closing(sqlite3.connect(store / "store.sqlite3")) as connection, connection:
        return connection.execute(words).fetchall()


DEAD = "UPDATE streams SET owner = 'dead', claimed_until = 0"


@pytest.mark.parametrize("door", ["grpc", "rest"])
@undisturbed(still_s=1.0)
async def test_the_time_of_who_comes_back_is_not_the_streams(door: str, tmp_path: Path) -> None:
    """It ends his reading. The stream is gone on with, in the time that it had."""
    gate, store = asyncio.Event(), tmp_path / "store"
    one, two = worker("a"), worker("b")
    one.script, two.script = slow(asyncio.Event()), slow(gate, 3)
    async with gateway_mesh(one, store=store) as killed, gateway_mesh(two, store=store) as mesh:
        if door == "grpc":
            read = await begin(killed, "grpc", 3)
            name = read[0].started.request_id
            sql(store, DEAD)
            request = pb.ContinueGenerateRequest(stream=name)
            with pytest.raises(grpc.aio.AioRpcError) as late:
                [_ async for _ in mesh.stub.ContinueGenerate(request, timeout=4)]
            assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        else:
            async with killed.http.stream(
                "POST", "/v1/chat/completions", json=BODY, headers=header()
            ) as answer:
                name = answer.headers["x-inferloom-stream"]
                await anext(whole(answer))
            sql(store, DEAD)
            late_ = await mesh.http.get(f"/v1/streams/{name}", headers={"x-request-timeout": "4"})
            assert '"code":"timeout"' in late_.text
        await asyncio.sleep(1)  # whoever is late is ended by then
        assert (two.running, two.cancelled.is_set()) == (1, False)
        gate.set()
        every = await rest(mesh, "grpc", name, None)
    assert "".join(event.delta.text for event in every) == "".join(WORDS)
    assert every[-1].HasField("completed")


async def test_the_time_that_a_stream_was_given_goes_with_it(tmp_path: Path) -> None:
    """Whoever goes on with it. Past it nobody does, and the stream has ended."""
    store = tmp_path / "store"
    one, two = worker("a"), worker("b")
    one.script = slow(asyncio.Event())
    async with gateway_mesh(one, store=store) as killed, gateway_mesh(two, store=store) as mesh:
        for timed in ({"timeout_ms": 30_000}, {}):
            async with aclosing(responses(killed, "grpc", GENERATE, CHAT, headers=ASKED, **timed)) as events:
                name = (await anext(events)).started.request_id
            [(deadline,)] = sql(store, f"SELECT deadline FROM streams WHERE id = '{name}'")
            assert (deadline is None) if not timed else 0 < deadline - time.time() <= 30
        sql(store, f"{DEAD}, deadline = 1 WHERE id = '{name}'")
        for _ in range(2):
            with pytest.raises(RefusedError) as over:
                await rest(mesh, "grpc", name, None)
            assert over.value.error.reason is Reason.TIMEOUT
    assert two.requests == []


@pytest.mark.parametrize("claimed", [False, True])
async def test_who_leaves_amid_a_write_leaves_no_claim(
    claimed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a stream that nobody makes, nor one that nobody can go on with."""

    async def want(book: Book, kept: KeptStream) -> None:
        """Nothing: it is the write behind it that waits."""

    monkeypatch.setattr(Book, "want", want)
    claiming, undoing = ("take_over", "release") if claimed else ("begin", "forget")
    claim, undo = getattr(Claims, claiming), getattr(Book, undoing)
    writes, left, undone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def seen_claim(claims: Claims, kept: KeptStream) -> KeptStream | None:
        writes.set()
        try:
            return cast("KeptStream | None", await claim(claims, kept))
        except asyncio.CancelledError:
            left.set()
            raise

    async def seen_undo(book: Book, kept: KeptStream) -> None:
        await undo(book, kept)
        undone.set()

    store, first = tmp_path / "store", worker("a")
    first.script = slow(asyncio.Event())
    async with gateway_mesh(first, store=store) as mesh:
        name = (await begin(mesh, "grpc", 2))[0].started.request_id
    async with gateway_mesh(worker("b"), store=store) as mesh:
        await mesh.http.get("/v1/streams/nobody")  # which opens the store
        monkeypatch.setattr(Claims, claiming, seen_claim)
        monkeypatch.setattr(Book, undoing, seen_undo)
        sql(store, DEAD if claimed else "DELETE FROM streams")
        with closing(sqlite3.connect(store / "store.sqlite3", isolation_level=None)) as busy:
            busy.execute("BEGIN IMMEDIATE")
            call = (
                mesh.stub.ContinueGenerate(pb.ContinueGenerateRequest(stream=name))
                if claimed
                else mesh.stub.Generate(CHAT, metadata=tuple(ASKED.items()))
            )
            await asyncio.wait_for(writes.wait(), PATIENCE_S)
            call.cancel()
            await asyncio.wait_for(left.wait(), PATIENCE_S)
            busy.execute("COMMIT")
        await asyncio.wait_for(undone.wait(), PATIENCE_S)
        rows = sql(store, "SELECT owner, claimed_until FROM streams")
        assert not rows if not claimed else rows[0][0] != "dead" and rows[0][1] == 0


async def test_where_as_many_follow_as_may_no_stream_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would have no reader."""
    monkeypatch.setattr(desk, "MOST_FOLLOWERS", 0)
    first = FakeWorker("a")
    async with gateway_mesh(first) as mesh:
        with pytest.raises(RefusedError) as full:
            [_ async for _ in responses(mesh, "grpc", GENERATE, CHAT, headers=ASKED)]
        by_rest = await mesh.http.post("/v1/chat/completions", json=BODY, headers=header())
    assert (full.value.error.reason, by_rest.status_code) == (Reason.RATE_LIMIT_EXCEEDED, 429)
    assert first.requests == []


async def test_a_gateway_that_stops_sends_followers_elsewhere(tmp_path: Path) -> None:
    """Where the stream has to be gone on with: it does so no more, and says so at once."""
    store, never = tmp_path / "store", asyncio.Event()
    one, two = worker("a"), worker("b")
    one.script = slow(never)
    two.script = slow(never)
    async with (
        gateway_mesh(one, store=store) as maker,
        gateway_mesh(two, store=store, drain_limit_s=PATIENCE_S) as stops,
    ):
        name = (await begin(maker, "grpc", 2))[0].started.request_id
        sql(store, f"UPDATE streams SET owner = 'another', claimed_until = {time.time() + 600}")
        call = stops.stub.ContinueGenerate(pb.ContinueGenerateRequest(stream=name))
        events = aiter(call)
        await anext(events)
        stops.stop.set()
        await until_async(lambda: _refuses(stops), "the stop")
        sql(store, DEAD)

        async def read() -> None:
            async for _ in events:
                pass

        with pytest.raises(grpc.aio.AioRpcError) as told:
            await asyncio.wait_for(read(), PATIENCE_S / 2)
    error = error_of(told.value)
    assert (error.reason, error.retry_after) == (Reason.NO_WORKER, 1.0)
    assert two.requests == []


async def _refuses(mesh: GatewayMesh) -> bool:
    try:
        await mesh.stub.ListModels(pb.ListModelsRequest())
    except grpc.aio.AioRpcError:
        return True
    return False


@pytest.mark.parametrize("door", ["grpc", "connect-json", "grpc-web-proto"])
async def test_a_stream_that_says_nothing_has_heartbeats(door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that proxies leave its connections open. They have no place in it."""
    monkeypatch.setattr(resumable, "SILENCE_S", 0.1)
    gate, first = asyncio.Event(), worker("a")
    first.script = slow(gate)
    read: list[pb.GenerateResponse] = []
    async with gateway_mesh(first) as mesh:
        async for event in responses(mesh, door, GENERATE, CHAT, headers=ASKED):
            read.append(event)
            if event.HasField("heartbeat"):
                gate.set()
    beats = [event for event in read if event.HasField("heartbeat")]
    assert beats
    assert not any(event.HasField("sequence") for event in beats)
    assert [event.sequence for event in read if event.HasField("sequence")] == list(range(len(WORDS) + 3))
