"""Claims on a batch's steps and lines, as several runners see them through one store."""

import asyncio
import errno
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
from inferloom_gateway.batching.finishing import finish
from inferloom_gateway.batching.gate import Gate
from inferloom_gateway.batching.holds import Holds
from inferloom_gateway.batching.line_call import Reply
from inferloom_gateway.batching.pace import Pace
from inferloom_gateway.batching.runner import Runner
from inferloom_gateway.batching.steps import do_step
from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.storage import batch_rows, rows, runners
from inferloom_gateway.storage.batch_rows import Chunk, Result, Step, Work
from inferloom_gateway.storage.batches import Batches
from inferloom_gateway.storage.contents import Incoming
from inferloom_gateway.storage.kinds import FILES
from inferloom_gateway.storage.rows import Query, Row
from inferloom_gateway.storage.storage import Storage
from inferloom_gateway.storage.store import Store
from inferloom_mesh.errors import InferloomError, overloaded
from tests.gateway.test_storage import opened
from tests.patience import PATIENCE_S

CHAT = "/v1/chat/completions"
LINES = 20


async def accepted(store: Store, tenant: str = "", model: str = "m") -> str:
    """A batch of twenty lines."""
    lines = [
        json.dumps({"custom_id": str(n), "method": "POST", "url": CHAT, "body": {"model": model}})
        for n in range(1, LINES + 1)
    ]
    data = "\n".join(lines).encode()
    name = store.documents(FILES).new_id()
    with store.contents.create() as incoming:
        incoming.write(data)
        incoming.complete()
        store.contents.keep(incoming, name)
    row = Row(
        id=name, tenant=tenant, created=time.time(), status="batch", document=b"{}", content_bytes=len(data)
    )
    await store.documents(FILES).put(row)
    asked = {"endpoint": CHAT, "input_file_id": name, "completion_window": "24h"}
    batch = await Batches(store).accept(tenant, asked, {"key_id": "", "file_age_s": None}, 3600)
    return str(batch["id"])


def there(model: str) -> InferloomError | None:
    """All models exist."""
    return None


async def join(store: Store, runner: str) -> None:
    """Let a runner be known."""
    await store.database.write(lambda at: runners.join(at, runner))


async def claimed(store: Store, runner: str) -> Work:
    """A step for a runner."""
    await join(store, runner)
    work = await store.database.write(lambda at: batch_rows.claim_work(at, runner))
    assert work is not None
    return work


async def put(store: Store, chunk: Chunk, line: int, *, by: str = "", failed: bool = False) -> bool:
    """Store a line's result."""
    result = Result(line, failed, {"input": 1, "output": 2}, f'{{"line":{line},"by":"{by}"}}\n'.encode())
    return await store.database.write(lambda at: batch_rows.put_result(at, chunk, result, 1, 2**40))


async def chunk_of(store: Store, runner: str) -> tuple[Chunk, frozenset[int]] | None:
    """Lines for a runner."""
    await join(store, runner)
    return await store.database.write(lambda at: batch_rows.claim_chunk(at, runner))


def contents(folder: Path) -> set[str]:
    """The files in a store's folder."""
    return {path.name for path in folder.glob("contents/*/file-*")}


async def running(store: Store, tenant: str = "") -> str:
    """A batch whose lines are run."""
    batch = await accepted(store, tenant)
    await do_step(store, "a", await claimed(store, "a"), GatewaySettings(), there)
    return batch


async def test_a_step_and_a_chunk_have_one_owner(tmp_path: Path) -> None:
    """Until it is released; then the next one is told what has been answered."""
    async with opened(tmp_path) as store, opened(tmp_path) as other:
        await accepted(store)
        work = await claimed(store, "a")
        assert work.step is Step.VALIDATE
        await join(other, "b")
        assert await other.database.write(lambda at: batch_rows.claim_work(at, "b")) is None
        await do_step(store, "a", work, GatewaySettings(), there)
        mine, theirs = await chunk_of(store, "a"), await chunk_of(other, "b")
        assert mine is not None
        assert theirs is not None
        assert [mine[0].lines, theirs[0].lines] == [16, 4]
        assert await chunk_of(other, "b") is None
        await put(store, mine[0], 3)
        await store.database.write(lambda at: runners.release(at, "a"))
        assert await chunk_of(other, "b") == (mine[0], frozenset({3}))


async def test_the_first_result_of_a_line_stands(tmp_path: Path) -> None:
    """A runner that was thought to be dead and comes back changes nothing, and neither does a late one."""
    async with opened(tmp_path) as store:
        batch = await running(store)
        chunks = [found[0] for _ in range(2) if (found := await chunk_of(store, "a")) is not None]
        for chunk in chunks:
            for line in range(chunk.line, chunk.line + chunk.lines):
                going = await put(store, chunk, line, by="first", failed=line == 7)
                assert await put(store, chunk, line, by="second") == going == (line < LINES)
        batches = Batches(store)
        assert (await batches.get("", batch))["request_counts"] == {"total": 20, "completed": 19, "failed": 1}
        await finish(store, "a", await claimed(store, "a"), 3600)
        ended = await batches.get("", batch)
        assert (ended["status"], ended["usage"]["total_tokens"]) == ("completed", 60)
        text = store.contents.path(ended["output_file_id"]).read_text()
        assert [json.loads(each) for each in text.splitlines()] == [
            {"line": n, "by": "first"} for n in range(1, LINES + 1) if n != 7
        ]


async def test_a_batch_is_finished_once(tmp_path: Path) -> None:
    """Of two that make its files, because one was thought to be dead, one is heard; the other's are gone."""
    async with opened(tmp_path) as store:
        batch = await running(store)
        for _ in range(2):
            found = await chunk_of(store, "a")
            assert found is not None
            for line in range(found[0].line, found[0].line + found[0].lines):
                await put(store, found[0], line)
        slow = await claimed(store, "slow")
        await store.database.write(lambda at: runners.release(at, "slow"))
        await finish(store, "quick", await claimed(store, "quick"), 3600)
        ended = await Batches(store).get("", batch)
        await finish(store, "slow", slow, 3600)
        assert await Batches(store).get("", batch) == ended
        files = await store.documents(FILES).page("", Query(limit=10, status="batch_output"))
        assert [row.id for row in files.rows] == [ended["output_file_id"]]
        assert contents(tmp_path) == {ended["output_file_id"], ended["input_file_id"]}
        work = await claimed(store, "a")
        assert work.step is Step.CLEAN
        await do_step(store, "a", work, GatewaySettings(), there)
        assert not (await store.database.read(batch_rows.pending)).any
        assert await Batches(store).get("", batch) == ended
        assert not store.contents.path(batch).exists()


@pytest.mark.parametrize("when", ["before it is validated", "while it runs"])
async def test_a_batch_whose_day_is_over_ends(tmp_path: Path, when: str) -> None:
    """Lines without an answer say so in the error file."""
    async with opened(tmp_path) as store:
        batch = await (running if when == "while it runs" else accepted)(store)
        if when == "while it runs":
            found = await chunk_of(store, "a")
            assert found is not None
            await put(store, found[0], 2)

        def later(at: sqlite3.Connection) -> None:
            batch_rows.expire(at, time.time() + 86_401)

        await store.database.write(later)
        assert (await Batches(store).get("", batch))["status"] == "finalizing"
        await finish(store, "a", await claimed(store, "a"), 3600)
        ended = await Batches(store).get("", batch)
        assert (ended["status"], "expired_at" in ended) == ("expired", True)
        if when == "while it runs":
            text = store.contents.path(ended["error_file_id"]).read_text()
            lines: list[Any] = [json.loads(each) for each in text.splitlines()]
            assert [each["custom_id"] for each in lines] == [str(n) for n in range(1, 21) if n != 2]
            assert {each["error"]["code"] for each in lines} == {"batch_expired"}
        else:
            assert "error_file_id" not in ended


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
            return lambda at: batch_rows.claim_chunk(at, "r", names, first=first)

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


async def test_results_count_and_end_a_batch_that_has_no_room_for_more(tmp_path: Path) -> None:
    """What has been answered is kept, and its owner is told why it ended."""
    async with opened(tmp_path) as store:
        batch = await running(store)
        before = await store.database.read(rows.total_bytes)
        found = await chunk_of(store, "a")
        assert found is not None
        bound = before + 20_000  # documents change as well
        going, count = True, 0
        while going:
            count += 1
            result = Result(count, False, {}, b"x" * 7000 + b"\n")
            going = await store.database.write(
                lambda at, result=result: batch_rows.put_result(at, found[0], result, 1, bound)  # type: ignore[misc]
            )
        assert count == 3
        assert await store.database.read(rows.total_bytes) >= before + 14_000
        await do_step(store, "a", await claimed(store, "a"), GatewaySettings(), there)
        ended = await Batches(store).get("", batch)
        assert (ended["status"], ended["errors"]["data"][0]["code"]) == ("failed", "storage_full")
        assert len(store.contents.path(ended["output_file_id"]).read_bytes()) == 2 * 7001
        after = await store.database.read(rows.total_bytes)
        assert before + 14_000 < after < bound


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "full"), KeyError("a bug")])
async def test_files_that_cannot_be_finished_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """And the step is somebody's again, whatever it was that failed."""
    async with opened(tmp_path) as store:
        await running(store)
        for _ in range(2):
            found = await chunk_of(store, "a")
            assert found is not None
            for line in range(found[0].line, found[0].line + found[0].lines):
                await put(store, found[0], line, failed=line == 7)
        kept = contents(tmp_path)
        completed = list[Incoming]()

        def complete(incoming: Incoming) -> None:
            completed.append(incoming)
            if len(completed) == 2:
                monkeypatch.setattr(incoming, "_file", Full(incoming._file))
                raise failure

        class Full:
            def __init__(self, file: Any) -> None:
                self._file = file

            def close(self) -> None:
                self._file.close()
                raise OSError(errno.ENOSPC, "full")

        with monkeypatch.context() as patched:
            patched.setattr(Incoming, "complete", complete)
            assert not await do_step(store, "a", await claimed(store, "a"), GatewaySettings(), there)
        assert len(completed) == 2
        assert contents(tmp_path) == kept
        assert not list((tmp_path / "contents" / "incoming").iterdir())
        assert (await claimed(store, "b")).step is Step.FINISH


async def test_a_runner_that_was_released_hears_so(tmp_path: Path) -> None:
    """At its next beat."""
    async with opened(tmp_path) as store:
        await store.database.write(lambda at: runners.join(at, "a"))
        says: Callable[[sqlite3.Connection], bool] = lambda at: runners.beat(at, "a")  # noqa: E731
        assert await store.database.write(says)
        await store.database.write(lambda at: runners.release(at, "a"))
        assert not await store.database.write(says)
