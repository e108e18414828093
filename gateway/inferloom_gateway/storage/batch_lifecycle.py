"""How a batch comes from one status to the next, and what it counts for then. Synchronous, for a transaction.

Its document, which its owner sees, changes together with what is to be done for it (``batch_work``), with its
lines (``batch_chunks``) and their results (``batch_results``). Once it is being finished its results stay as
they are.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from inferloom_gateway.storage import batch_chunks, batch_results, batch_work, rows
from inferloom_gateway.storage.batch_chunks import Chunk
from inferloom_gateway.storage.batch_results import Result
from inferloom_gateway.storage.batch_work import Step, Work
from inferloom_gateway.storage.failures import FULL
from inferloom_gateway.storage.kinds import BATCHES, FILES
from inferloom_gateway.storage.rows import Row


def start(
    at: sqlite3.Connection, runner: str, work: Work, chunks: Iterable[Chunk], now: int, model: str | None
) -> None:
    """Begin to run a batch that was found valid, unless it has been cancelled meanwhile."""
    if not batch_work.move(at, runner, work, Step.RUN):
        return
    batch_chunks.add(at, chunks)
    more = {} if model is None else {"model": model}
    _change(at, work.tenant, work.batch, "in_progress", in_progress_at=now, **more)


def fail(
    at: sqlite3.Connection, runner: str, work: Work, errors: Sequence[Mapping[str, Any]], now: int
) -> None:
    """End a batch that was found invalid."""
    if batch_work.move(at, runner, work, Step.CLEAN):
        listed = {"object": "list", "data": list(errors)}
        _change(at, work.tenant, work.batch, "failed", failed_at=now, errors=listed)


def keep(at: sqlite3.Connection, chunk: Chunk, result: Result, now: int, most_bytes: int) -> bool:
    """Keep what a line came to, unless there is a result already; whether the batch still runs.

    Results count for their batch. One that does not fit into the store's ``most_bytes`` ends it.
    """
    tenant = batch_work.runs_for(at, chunk.batch)
    if tenant is None:
        return False
    if rows.total_bytes(at) + len(result.body) > most_bytes:
        if batch_results.has(at, chunk.batch, chunk.number, result.line):
            return True
        end(at, tenant, chunk.batch, "failed", now, errors=full_errors())
        return False
    if not batch_results.put(at, chunk.batch, chunk.number, result):
        return True
    rows.grow(at, BATCHES.name, tenant, chunk.batch, len(result.body))
    if batch_chunks.count(at, chunk, failed=result.failed):
        return True
    end(at, tenant, chunk.batch, "completed", now)
    return False


def full_errors() -> dict[str, Any]:
    """The ``errors`` of a batch that the store has no room for."""
    return _errors("storage_full", FULL)


def bar(at: sqlite3.Connection, batch: str, now: int, code: str, message: str) -> None:
    """End a batch none of whose lines will be let in any more, if they are still run; what has been answered
    is kept, and the error told once."""
    tenant = batch_work.runs_for(at, batch)
    if tenant is not None:
        end(at, tenant, batch, "failed", now, errors=_errors(code, message))


def end(at: sqlite3.Connection, tenant: str, batch: str, outcome: str, now: int, **more: Any) -> None:
    """Let no more lines of a batch be run, and its files be made; ``more`` is told of it."""
    batch_work.finish(at, batch, outcome)
    if outcome == "cancelled":
        _change(at, tenant, batch, "cancelling", cancelling_at=now, **more)
    else:
        _change(at, tenant, batch, "finalizing", finalizing_at=now, **more)


def expire(at: sqlite3.Connection, now: float) -> None:
    """End the batches whose time is over."""
    for tenant, batch in batch_work.expired(at, now):
        end(at, tenant, batch, "expired", int(now))


def finish(
    at: sqlite3.Connection, runner: str, work: Work, files: Iterable[Row], changes: Mapping[str, Any]
) -> bool:
    """End a batch with the files of its results; whether it was this runner's to end."""
    if not batch_work.move(at, runner, work, Step.CLEAN):
        return False
    size = batch_results.size(at, work.batch)
    rows.grow(at, BATCHES.name, work.tenant, work.batch, -size)  # the files count now
    for row in files:
        rows.put(at, FILES.name, row)
    _change(at, work.tenant, work.batch, work.outcome, **changes)
    return True


def forget(at: sqlite3.Connection, tenant: str, batch: str) -> None:
    """Have nothing more to do for an ended batch, whose input is gone and counts no more."""
    batch_chunks.remove(at, batch)
    batch_work.remove(at, batch)
    row = rows.get(at, BATCHES.name, tenant, batch, 0)
    if row is not None:
        rows.grow(at, BATCHES.name, tenant, batch, -row.content_bytes)


def _errors(code: str, message: str) -> dict[str, Any]:
    return {"object": "list", "data": [{"code": code, "message": message, "param": None, "line": None}]}


def _change(at: sqlite3.Connection, tenant: str, batch: str, status: str, **more: Any) -> None:
    row = rows.get(at, BATCHES.name, tenant, batch, 0)
    if row is not None:
        document = json.dumps(json.loads(row.document) | {"status": status} | more)
        rows.update(at, BATCHES.name, replace(row, status=status, document=document.encode()))
