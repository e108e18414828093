"""Makes the files of a batch's results, and ends it."""

import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import orjson

from inferloom_gateway.batching.input_file import lines_of
from inferloom_gateway.batching.results import unanswered, usage
from inferloom_gateway.http.translate.stored import file_row
from inferloom_gateway.storage import batch_chunks, batch_lifecycle, batch_results
from inferloom_gateway.storage.batch_chunks import Chunk
from inferloom_gateway.storage.batch_work import Work
from inferloom_gateway.storage.contents import Incoming
from inferloom_gateway.storage.failures import on_disk
from inferloom_gateway.storage.kinds import FILES
from inferloom_gateway.storage.rows import Row, total_bytes
from inferloom_gateway.storage.store import Store

log = logging.getLogger(__name__)

PURPOSE = "batch_output"
_DONE = {
    "completed": "completed_at",
    "expired": "expired_at",
    "cancelled": "cancelled_at",
    "failed": "failed_at",
}


async def finish(store: Store, runner: str, work: Work, file_age_s: float) -> None:
    """End a batch whose lines are not run any more. Who dies on the way leaves nothing behind that counts.

    Args:
        store: Where it is.
        runner: Who has claimed it.
        work: What was claimed.
        file_age_s: How long its files are kept, in seconds.

    Raises:
        InferloomError: The store cannot be used, or is full.
    """
    chunks = await store.database.read(lambda at: batch_chunks.of_batch(at, work.batch))
    size, total = await store.database.read(lambda at: (batch_results.size(at, work.batch), total_bytes(at)))
    await on_disk(lambda: store.contents.check_room(size))
    files = _Files(store, work, store.limits.total_bytes - total)
    try:
        for chunk in chunks:
            await store.database.read(partial(files.add, chunk))
        rows = await on_disk(lambda: files.kept(file_age_s))
        changes: dict[str, Any] = {
            _DONE[work.outcome]: int(time.time()),
            "request_counts": files.counts(chunks),
            "usage": usage(files.used),
            **{f"{kind}_file_id": row.id for kind, row in rows.items()},
        }
        if files.short:
            changes["errors"] = batch_lifecycle.full_errors()
        done = await store.database.write(
            lambda at: batch_lifecycle.finish(at, runner, work, rows.values(), changes)
        )
        if done:
            log.info("batch %s is %s: %s", work.batch, work.outcome, changes["request_counts"])
        else:
            await on_disk(files.delete)
    except Exception:  # whatever it was, files that no batch names must not stay
        await on_disk(files.delete)
        raise
    finally:
        await on_disk(files.discard)


class _Files:
    """The two files, each made when it gets its first line. Blocks.

    Args:
        store: Where they are made.
        work: Whose they are.
        room: How many bytes they may be longer than the results that they are made of.
    """

    def __init__(self, store: Store, work: Work, room: int) -> None:
        self._store = store
        self._work = work
        self._room = room
        self.short = False
        """Whether there was no room for all lines that were not answered."""
        self._names: list[str] = []
        self._files: dict[str, Incoming] = {}
        self.used: Counter[str] = Counter()
        self._tally: Counter[str] = Counter()

    def add(self, chunk: Chunk, at: sqlite3.Connection) -> None:
        """Add a chunk's results, one at a time, and say of lines without one that they were not answered."""
        known = set[int]()
        for result in batch_results.of_chunk(at, chunk.batch, chunk.number):
            known.add(result.line)
            self._write("error" if result.failed else "output", result.body)
            self._tally["failed" if result.failed else "completed"] += 1
            self.used.update(result.usage)
        work = self._work
        if chunk.done or self.short or work.outcome == "failed":  # a store that is full is not filled up
            return
        with self._store.contents.open(work.batch) as file:
            for line, asked in lines_of(file, chunk):
                if line in known:
                    continue
                told = unanswered(work.batch, line, asked["custom_id"], work.outcome)
                self._room -= len(told)
                if self._room < 0:
                    self.short = True
                    return
                self._write("error", told)

    def counts(self, chunks: Sequence[Chunk]) -> dict[str, int]:
        """How many lines there were, and what became of those that were asked for."""
        total = sum(chunk.lines for chunk in chunks)
        return {"total": total, "completed": self._tally["completed"], "failed": self._tally["failed"]}

    def kept(self, age_s: float) -> dict[str, Row]:
        """Complete the files; their rows by their kind."""
        documents, now, rows = self._store.documents(FILES), time.time(), {}
        for kind, file in self._files.items():
            file.complete()
            name = documents.new_id()
            self._names.append(name)
            self._store.contents.keep(file, name)
            title = f"{self._work.batch}_{kind}.jsonl"
            rows[kind] = file_row(name, self._work.tenant, file.size, now, now + age_s, title, PURPOSE)
        return rows

    def delete(self) -> None:
        """Delete what has been kept: nothing names it."""
        for name in self._names:
            self._store.contents.delete(name)

    def discard(self) -> None:
        """Remove what has not been kept."""
        with ExitStack() as stack:  # each, whatever becomes of the others
            for file in self._files.values():
                stack.callback(file.discard)

    def _write(self, kind: str, line: bytes) -> None:
        if kind not in self._files:
            self._files[kind] = self._store.contents.create()
        self._files[kind].write(line)


def file_age(extra: bytes, default_s: float) -> float:
    """How long a batch's files are kept, in seconds, by what its request said."""
    said: float | None = orjson.loads(extra).get("file_age_s")
    return default_s if said is None else said
