"""Claims on a batch's steps and lines, as several runners see them through one store."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inferloom_gateway.access.identity import Identity
from inferloom_gateway.batching import chunk_run, claims, verdict
from inferloom_gateway.batching.chunk_run import ChunkRun, Means
from inferloom_gateway.batching.gate import Gate
from inferloom_gateway.batching.holds import Holds
from inferloom_gateway.batching.line_call import Reply
from inferloom_gateway.batching.pace import Pace
from inferloom_gateway.batching.runner import Runner
from inferloom_gateway.batching.steps import do_step
from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.storage import batch_chunks, batch_work, runners
from inferloom_gateway.storage.batch_work import Step
from inferloom_gateway.storage.batches import Batches
from inferloom_gateway.storage.storage import Storage
from inferloom_mesh.errors import overloaded
from tests.gateway.batch_store import accepted, chunk_of, claimed, join, put, running, there
from tests.gateway.test_storage import opened
from tests.patience import PATIENCE_S


async def test_a_step_and_a_chunk_have_one_owner(tmp_path: Path) -> None:
    """Until it is released; then the next one is told what has been answered."""
    async with opened(tmp_path) as store, opened(tmp_path) as other:
        await accepted(store)
        work = await claimed(store, "a")
        assert work.step is Step.VALIDATE
        await join(other, "b")
        assert await other.database.write(lambda at: batch_work.claim(at, "b")) is None
        await do_step(store, "a", work, GatewaySettings(), there)
        mine, theirs = await chunk_of(store, "a"), await chunk_of(other, "b")
        assert mine is not None
        assert theirs is not None
        assert [mine[0].lines, theirs[0].lines] == [16, 4]
        assert await chunk_of(other, "b") is None
        await put(store, mine[0], 3)
        await store.database.write(lambda at: runners.release(at, "a"))
        assert await chunk_of(other, "b") == (mine[0], frozenset({3}))


async def test_the_batch_with_the_fewest_lines_running_is_next(tmp_path: Path) -> None:
    """A large batch does not keep a small one waiting."""
    async with opened(tmp_path) as store:
        names = [await running(store) for _ in range(2)]
        got: list[str] = []
        for _ in range(4):
            found = await chunk_of(store, "a")
            assert found is not None
            got.append(found[0].batch)
        assert sorted(got[:2]) == sorted(got[2:]) == sorted(names)


async def test_the_tenant_with_the_fewest_lines_running_is_next(tmp_path: Path) -> None:
    """However many batches another has; what is held is left out, and so, where asked, what one has."""
    async with opened(tmp_path) as store:
        many = [await running(store, "a") for _ in range(3)]
        one = await running(store, "b")
        got = [found[0].batch for _ in range(4) if (found := await chunk_of(store, "r")) is not None]
        assert got.count(one) == 2
        rest = [name for name in many if name not in got]

        def held(*names: str, first: bool = False) -> Callable[[sqlite3.Connection], Any]:
            return lambda at: batch_chunks.claim(at, "r", names, first=first)

        assert await store.database.write(held(*many)) is None
        found = await store.database.write(held(f"{rest[0]}:0", first=True))
        assert found is not None
        assert (found[0].batch, found[0].number) == (rest[0], 1)
        assert await store.database.write(held(first=True)) is None


@pytest.mark.parametrize("refusal", ["no_worker", "rate_limit_exceeded"])
async def test_a_batch_that_waits_does_not_keep_others_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    """Neither for a model that is away nor for its key's limit; lines that fail by a bug fail alone."""
    monkeypatch.setattr(verdict, "FAULT_S", 0.01)
    storage = Storage(GatewaySettings(store=tmp_path))
    store = await storage.open()
    batches = Batches(store)
    refused = list[bytes]()

    async def ask(path: str, body: bytes, caller: Identity, request_id: str) -> Reply:
        if caller.tenant == "waits":
            refused.append(body)
            error = {"error": {"code": refusal}}
            return Reply(503 if refusal == "no_worker" else 429, json.dumps(error).encode(), 30.0)
        return Reply(400, b"no JSON") if request_id.endswith("-7") else Reply(200, b"{}")

    waits = [await accepted(store, "waits") for _ in range(2)]
    goes = await accepted(store, "goes")
    stopping = asyncio.Event()
    runner = Runner(storage, ask, there, GatewaySettings(batch_concurrency=2), time.monotonic)
    task = asyncio.create_task(runner.run(stopping, 0))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (await batches.get("goes", goes))["status"] != "completed":  # noqa: ASYNC110 # nobody tells
                await asyncio.sleep(0.02)
        ended = await batches.get("goes", goes)
        assert ended["request_counts"] == {"total": 20, "completed": 19, "failed": 1}
        assert 1 <= len(refused) <= 8
        for batch in waits:
            assert (await batches.get("waits", batch))["status"] == "in_progress"
        owned = "SELECT COUNT(*) FROM batch_chunks WHERE done = 0 AND owner IS NOT NULL"
        assert (await store.database.read(lambda at: at.execute(owned).fetchone())) == (0,)
    finally:
        stopping.set()
        await task
        await storage.close()


async def test_a_chunk_that_fails_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it was, and also where the store does not take it at once."""

    async def ask(path: str, body: bytes, caller: Identity, request_id: str) -> Reply:
        raise AssertionError

    monkeypatch.setattr(chunk_run, "AGAIN_S", 0.0)
    monkeypatch.setattr(claims, "AGAIN_S", 0.0)
    async with opened(tmp_path) as store:
        batch = await running(store)
        found = await chunk_of(store, "a")
        assert found is not None
        store.contents.path(batch).write_bytes(b"no JSON")
        pace, write, tries = Pace(1), store.database.write, list[Any]()

        async def busy(work: Any) -> Any:
            tries.append(work)
            if len(tries) == 1:
                raise overloaded("busy")
            return await write(work)

        monkeypatch.setattr(store.database, "write", busy)
        means = Means(Gate(pace, time.monotonic), pace, Holds(), ask, time.time, time.monotonic)
        await ChunkRun(store, means, *found).run("a", asyncio.Event())
        assert len(tries) == 2
        assert await chunk_of(store, "b") == found


async def test_a_runner_that_was_released_hears_so(tmp_path: Path) -> None:
    """At its next beat."""
    async with opened(tmp_path) as store:
        await store.database.write(lambda at: runners.join(at, "a"))
        says: Callable[[sqlite3.Connection], bool] = lambda at: runners.beat(at, "a")  # noqa: E731
        assert await store.database.write(says)
        await store.database.write(lambda at: runners.release(at, "a"))
        assert not await store.database.write(says)
