"""What a runner claims: only while it is known, as long as it lives, and nothing once it is to stop."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from inferloom_gateway.access.identity import Identity
from inferloom_gateway.batching import runner as runner_module
from inferloom_gateway.batching.input_file import Missing
from inferloom_gateway.batching.line_call import Ask, Reply
from inferloom_gateway.batching.runner import MOST_STEPS, Runner
from inferloom_gateway.batching.steps import do_step
from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.storage import batch_chunks, batch_work, rows, runners
from inferloom_gateway.storage.batches import Batches
from inferloom_gateway.storage.database import Database
from inferloom_gateway.storage.storage import Storage
from inferloom_gateway.storage.store import Store
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.suggestion import model_not_found
from tests.gateway.batch_store import LINES, accepted, chunk_of, claimed, join, put, running, there
from tests.gateway.test_storage import opened
from tests.patience import PATIENCE_S, until_async

DONE = Reply(200, b"{}")


@asynccontextmanager
async def runs(
    folder: Path, ask: Ask, limit_s: float = 0, missing: Missing = there, **settings: Any
) -> AsyncIterator[asyncio.Event]:
    """A gateway that runs batches until the block ends, or until the event is set."""
    storage, stopping = Storage(GatewaySettings(store=folder)), asyncio.Event()
    runner = Runner(storage, ask, missing, GatewaySettings(batch_lease_s=1, **settings), time.monotonic)
    task = asyncio.create_task(runner.run(stopping, limit_s))
    try:
        yield stopping
    finally:
        stopping.set()
        await task
        await storage.close()


async def status(store: Store, batch: str) -> str:
    """How a batch stands."""
    return str((await Batches(store).get("", batch))["status"])


async def owners(store: Store) -> set[str | None]:
    """Who has claimed what is left of a batch."""

    def work(at: sqlite3.Connection) -> list[tuple[str | None]]:
        chunks = at.execute("SELECT owner FROM batch_chunks WHERE done = 0").fetchall()
        return chunks + at.execute("SELECT owner FROM batch_work").fetchall()

    return {owner for (owner,) in await store.database.read(work)}


def emptied(store: Store, batch: str) -> None:
    """Leave nothing in a batch's input, which is its file by another name."""
    store.contents.path(batch).unlink()
    store.contents.path(batch).write_bytes(b"")


async def hangs(path: str, body: bytes, caller: Identity, request_id: str) -> Reply:
    """No answer, ever."""
    await asyncio.Event().wait()
    return DONE


async def answers(path: str, body: bytes, caller: Identity, request_id: str) -> Reply:
    """An answer at once."""
    return DONE


async def test_a_runner_that_was_released_claims_nothing(tmp_path: Path) -> None:
    """Before it hears of that with its next beat: nobody would release it again."""
    async with opened(tmp_path) as store:
        await running(store)
        await accepted(store)
        await join(store, "a")
        await store.database.write(lambda at: runners.release(at, "a"))
        assert await store.database.write(lambda at: batch_work.claim(at, "a")) is None
        assert await store.database.write(lambda at: batch_chunks.claim(at, "a")) is None
        assert await chunk_of(store, "b") is not None
        assert await claimed(store, "b") is not None


async def test_what_nobody_known_has_claimed_is_done_by_others(tmp_path: Path) -> None:
    """Lines and steps alike."""
    async with opened(tmp_path) as store:
        batches = [await running(store), await accepted(store)]

        def haunted(at: sqlite3.Connection) -> None:
            at.execute("UPDATE batch_chunks SET owner = 'ghost'")
            at.execute("UPDATE batch_work SET owner = 'ghost' WHERE step <> 'run'")

        await store.database.write(haunted)
        async with runs(tmp_path, answers):
            for batch in batches:
                await until_async(partial(status, store, batch), "an end", "completed".__eq__)


async def test_a_runner_that_was_thought_dead_goes_on_under_another_name(tmp_path: Path) -> None:
    """What it does at that moment is given up, and its old name has no claims."""
    asked = 0

    async def ask(path: str, body: bytes, caller: Identity, request_id: str) -> Reply:
        nonlocal asked
        asked += 1
        return await (hangs if asked <= LINES else answers)(path, body, caller, request_id)

    async with opened(tmp_path) as store:
        batch = await running(store)
        async with runs(tmp_path, ask, batch_concurrency=LINES):
            await until_async(lambda: asked, "all lines", LINES.__eq__)
            (name,) = {owner for owner in await owners(store) if owner is not None}
            await store.database.write(lambda at: runners.release(at, name))
            await until_async(lambda: status(store, batch), "an end", "completed".__eq__)
            assert name not in await store.database.read(runners.beats)


async def test_a_runner_that_leaves_is_alive_and_begins_no_lines(tmp_path: Path) -> None:
    """Those that run may end; the others are somebody else's as soon as they have."""
    ends, asked = asyncio.Event(), list[str]()

    async def ask(path: str, body: bytes, caller: Identity, request_id: str) -> Reply:
        asked.append(request_id)
        await ends.wait()
        return DONE

    async with opened(tmp_path) as store:
        batch = await running(store)
        async with runs(tmp_path, ask, limit_s=60, batch_concurrency=2) as stopping:
            await until_async(lambda: len(asked), "two lines", (2).__eq__)
            stopping.set()
            said = max((await store.database.read(runners.beats)).values())
            heard = lambda: store.database.read(runners.beats)  # noqa: E731
            await until_async(heard, "beats", lambda seen: max(seen.values()) > said + 2)
            ends.set()
        counts = (await Batches(store).get("", batch))["request_counts"]
        assert (len(asked), counts) == (2, {"total": LINES, "completed": 2, "failed": 0})
        assert await owners(store) == {None}
        assert set(await store.database.read(runners.beats)) <= {"a"}  # who had it validated


async def test_a_batch_whose_key_was_taken_back_fails_with_one_error(tmp_path: Path) -> None:
    """What has been answered is kept; the lines that are left are not told the same, each."""
    refusal = InferloomError(Reason.INVALID_API_KEY, "The API key has been revoked.")

    async def ask(path: str, body: bytes, caller: Identity, request_id: str) -> Reply:
        return DONE if request_id.endswith(("-1", "-2")) else Reply.failed(refusal)

    async with opened(tmp_path) as store:
        batch = await running(store)
        async with runs(tmp_path, ask, batch_concurrency=1):
            await until_async(lambda: status(store, batch), "an end", "failed".__eq__)
        ended = await Batches(store).get("", batch)
        (error,) = ended["errors"]["data"]
        assert (error["code"], error["message"]) == ("invalid_api_key", refusal.message)
        assert ended["request_counts"] == {"total": LINES, "completed": 2, "failed": 0}
        assert "error_file_id" not in ended
        assert len(store.contents.path(ended["output_file_id"]).read_text().splitlines()) == 2


async def test_a_batch_for_a_model_that_does_not_exist_fails_before_it_runs(tmp_path: Path) -> None:
    """It is told of at its first line."""
    async with opened(tmp_path) as store:
        batch = await accepted(store, model="smol")
        missing = lambda model: model_not_found(model, ["smollm2"])  # noqa: E731
        await do_step(store, "a", await claimed(store, "a"), GatewaySettings(), missing)
        ended = await Batches(store).get("", batch)
        (error,) = ended["errors"]["data"]
        assert (ended["status"], error["code"], error["line"], error["param"]) == (
            *("failed", "model_not_found"),
            *(1, "body.model"),
        )
        assert "Did you mean 'smollm2'?" in error["message"]


async def test_a_batch_is_not_validated_while_the_fleet_cannot_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether there is its model: it waits, and many that do keep no other step from being done."""
    monkeypatch.setattr(runner_module, "AGAIN_S", 0.1)
    starting = True

    def missing(model: str) -> InferloomError | None:
        if model == "m":
            return None
        if starting:
            raise InferloomError(Reason.NO_WORKER, "Perhaps.")
        return model_not_found(model, ["m"])

    async with opened(tmp_path) as store:
        wait = [await accepted(store, model="smol") for _ in range(MOST_STEPS + 1)]
        async with runs(tmp_path, answers, missing=missing):
            goes = await accepted(store)
            await until_async(lambda: status(store, goes), "an end", "completed".__eq__)
            assert {await status(store, batch) for batch in wait} == {"validating"}
            starting = False
            for batch in wait:
                await until_async(partial(status, store, batch), "an end", "failed".__eq__)


async def test_a_step_that_is_put_off_is_left_alone_from_when_it_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late the store says that it was."""
    asked, given_back, write = list[str](), asyncio.Event(), Database.write

    def missing(model: str) -> InferloomError | None:
        asked.append(model)
        raise InferloomError(Reason.NO_WORKER, "Perhaps.")

    async def late(self: Database, work: Any) -> Any:
        done = await write(self, work)
        free = "SELECT 1 FROM batch_work WHERE owner IS NULL"
        if asked and not given_back.is_set() and await self.read(lambda at: at.execute(free).fetchone()):
            given_back.set()
            await asyncio.sleep(1)  # in which the runner looks for work
        return done

    monkeypatch.setattr(runner_module, "AGAIN_S", 60.0)
    monkeypatch.setattr(Database, "write", late)
    async with opened(tmp_path) as store:
        await accepted(store)
        async with runs(tmp_path, answers, missing=missing):
            async with asyncio.timeout(PATIENCE_S):
                await given_back.wait()
            await asyncio.sleep(0.9)
    assert asked == ["m"]


async def test_room_is_made_before_it_is_taken(tmp_path: Path) -> None:
    """Steps that clear up come first; of the others none holds up the rest; those put off come not at all."""
    async with opened(tmp_path) as store:
        batches = [await accepted(store) for _ in range(4)]
        found = dict(zip(batches, ("finish", "validate", "clean", "finish"), strict=True))

        def move(at: sqlite3.Connection) -> None:
            at.executemany(
                "UPDATE batch_work SET step = ? WHERE batch = ?", [(s, b) for b, s in found.items()]
            )

        await store.database.write(move)
        await join(store, "a")
        held = batches[:1]
        claim = lambda at: batch_work.claim(at, "a", held)  # noqa: E731
        steps = [work and work.step for work in [await store.database.write(claim) for _ in range(4)]]
        assert steps[0] == "clean"
        assert set(steps[1:3]) == {"validate", "finish"}
        assert steps[3] is None


@pytest.mark.parametrize("how", ["completed", "failed"])
async def test_an_ended_batch_counts_for_what_there_is_of_it(tmp_path: Path, how: str) -> None:
    """Its input, which is gone, does not count for a month."""
    async with opened(tmp_path) as store:
        batch = await accepted(store)
        if how == "failed":
            emptied(store, batch)
        async with runs(tmp_path, answers):
            await until_async(
                lambda: store.database.read(batch_work.pending), "no work", lambda seen: not seen.any
            )
        ended = await Batches(store).get("", batch)
        assert (ended["status"], store.contents.path(batch).exists()) == (how, False)
        row = await store.batch(batch)
        assert row is not None
        assert row.content_bytes == 0
        kept = list((tmp_path / "contents").glob("*/*-*"))
        documents = "SELECT SUM(LENGTH(document) + LENGTH(extra)) FROM documents"
        (told,) = await store.database.read(lambda at: at.execute(documents).fetchone())
        counted = await store.database.read(rows.total_bytes)
        assert counted == told + sum(each.stat().st_size for each in kept)


async def test_how_far_a_batch_is_is_of_the_moment_of_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it ends, and is cleared up, while somebody asks."""
    async with opened(tmp_path) as store:
        batch = await running(store)
        while (found := await chunk_of(store, "a")) is not None:
            for line in range(found[0].line, found[0].line + found[0].lines):
                await put(store, found[0], line)
        read = store.database.read

        async def then_ends(work: Any) -> Any:
            seen = await read(work)
            monkeypatch.setattr(store.database, "read", read)
            for _ in range(2):
                await do_step(store, "a", await claimed(store, "a"), GatewaySettings(), there)
            return seen

        monkeypatch.setattr(store.database, "read", then_ends)
        seen = await Batches(store).get("", batch)
        assert seen["status"] == "finalizing"
        assert seen["request_counts"] == {"total": LINES, "completed": LINES, "failed": 0}


async def test_no_lines_are_begun_without_room_on_the_disk(tmp_path: Path) -> None:
    """They wait, and what else there is to do is done."""
    async with opened(tmp_path) as store:
        waits, wrong = await running(store), await accepted(store)
        emptied(store, wrong)
        storage, stopping = Storage(GatewaySettings(store=tmp_path, store_spare_bytes=2**62)), asyncio.Event()
        runner = Runner(storage, answers, there, GatewaySettings(), time.monotonic)
        task = asyncio.create_task(runner.run(stopping, 0))
        await until_async(lambda: status(store, wrong), "an end", "failed".__eq__)
        assert await status(store, waits) == "in_progress"
        counts = (await Batches(store).get("", waits))["request_counts"]
        assert counts == {"total": LINES, "completed": 0, "failed": 0}
        stopping.set()
        await task
        await storage.close()
