"""How a batch ends: with each result once, with its files once, when its day is over or there is no room."""

import errno
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from inferloom_gateway.batching.finishing import finish
from inferloom_gateway.batching.steps import do_step
from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.storage import batch_lifecycle, batch_work, rows, runners
from inferloom_gateway.storage.batch_results import Result
from inferloom_gateway.storage.batch_work import Step
from inferloom_gateway.storage.batches import Batches
from inferloom_gateway.storage.contents import Incoming
from inferloom_gateway.storage.kinds import FILES
from inferloom_gateway.storage.rows import Query
from tests.gateway.batch_store import LINES, accepted, chunk_of, claimed, contents, put, running, there
from tests.gateway.test_storage import opened


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
        assert not (await store.database.read(batch_work.pending)).any
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
            batch_lifecycle.expire(at, time.time() + 86_401)

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
                lambda at, result=result: batch_lifecycle.keep(at, found[0], result, 1, bound)  # type: ignore[misc]
            )
        assert count == 3
        assert await store.database.read(rows.total_bytes) >= before + 14_000
        await do_step(store, "a", await claimed(store, "a"), GatewaySettings(), there)
        ended = await Batches(store).get("", batch)
        assert (ended["status"], ended["errors"]["data"][0]["code"]) == ("failed", "storage_full")
        assert len(store.contents.path(ended["output_file_id"]).read_bytes()) == 2 * 7001
        after = await store.database.read(rows.total_bytes)
        assert before + 14_000 < after < bound


async def test_a_second_result_ends_no_batch_for_want_of_room(tmp_path: Path) -> None:
    """It would not be kept: a runner that was thought to be dead and comes back changes nothing."""
    async with opened(tmp_path) as store:
        batch = await running(store)
        found = await chunk_of(store, "a")
        assert found is not None
        assert await put(store, found[0], 1)
        bound = await store.database.read(rows.total_bytes)
        late = Result(1, False, {}, b"x" * 100 + b"\n")
        assert await store.database.write(lambda at: batch_lifecycle.keep(at, found[0], late, 1, bound))
        assert (await Batches(store).get("", batch))["status"] == "in_progress"


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "full"), KeyError("a bug")])
async def test_files_that_cannot_be_finished_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """And the step can be done anew, whatever it was that failed."""
    async with opened(tmp_path) as store:
        batch = await running(store)
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
        await store.database.write(lambda at: batch_work.give_back(at, "a", batch))
        assert (await claimed(store, "b")).step is Step.FINISH
