"""What is to be done for batches, and what has been done. Synchronous, for a transaction.

A batch is validated, run in chunks of lines, and finished; each step, and each chunk, is claimed by one
runner at a time. The result of a line is a row of its own, and there is one at most: of two that computed a
line, because one was thought to be dead, the first is heard. Once a batch is being finished its results stay
as they are.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from inferloom_gateway.storage import rows
from inferloom_gateway.storage.failures import FULL
from inferloom_gateway.storage.kinds import BATCHES, FILES
from inferloom_gateway.storage.migrations import Migration
from inferloom_gateway.storage.rows import Row

MIGRATION = Migration(
    "batches",
    (
        """CREATE TABLE batch_work (
            batch TEXT PRIMARY KEY, tenant TEXT NOT NULL, step TEXT NOT NULL, outcome TEXT NOT NULL,
            expires REAL NOT NULL, owner TEXT
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE batch_chunks (
            batch TEXT NOT NULL, chunk INTEGER NOT NULL, begins INTEGER NOT NULL, bytes INTEGER NOT NULL,
            line INTEGER NOT NULL, lines INTEGER NOT NULL, answered INTEGER NOT NULL DEFAULT 0,
            failed INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0, owner TEXT,
            PRIMARY KEY (batch, chunk)
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX batch_chunks_open ON batch_chunks (batch, done, owner, chunk)",
        """CREATE TABLE batch_results (
            batch TEXT NOT NULL, chunk INTEGER NOT NULL, line INTEGER NOT NULL, failed INTEGER NOT NULL,
            usage TEXT NOT NULL, body BLOB NOT NULL, UNIQUE (batch, chunk, line)
        ) STRICT""",
        "CREATE TABLE runners (id TEXT PRIMARY KEY, beat INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    ),
)

ENDED = Migration(
    "ended batches",  # whose input was deleted, and still counted
    (
        "UPDATE documents SET bytes = LENGTH(document) + LENGTH(extra)"
        " WHERE kind = 'batch' AND id NOT IN (SELECT batch FROM batch_work)",
    ),
)


class Step(StrEnum):
    """What a batch needs next."""

    VALIDATE = "validate"
    RUN = "run"
    FINISH = "finish"
    CLEAN = "clean"


@dataclass(frozen=True, slots=True)
class Work:
    """A step of a batch that a runner has claimed."""

    batch: str
    tenant: str
    step: Step
    outcome: str
    """The status that the batch ends with."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What is to be done."""

    any: bool
    """Whether there is a batch that is not over."""
    steps: bool
    """Whether there is a step that nobody does."""
    lines: bool
    """Whether there are lines that nobody runs."""
    running: frozenset[str]
    """The batches whose lines are run."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some lines of a batch's input."""

    batch: str
    number: int
    begins: int
    """Where they begin in the input, in bytes."""
    size: int
    line: int
    """The number of the first, from 1 on, with empty lines counted."""
    lines: int
    """How many requests there are in it."""
    done: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What one line came to."""

    line: int
    failed: bool
    usage: Mapping[str, int]
    body: bytes
    """Its line in the file of results."""


def pending(at: sqlite3.Connection) -> Pending:
    """All that is to be done."""
    work = at.execute("SELECT batch, step, owner FROM batch_work").fetchall()
    running = frozenset(batch for batch, step, _ in work if step == Step.RUN)
    steps = any(step != Step.RUN and owner is None for _, step, owner in work)
    free = "SELECT 1 FROM batch_chunks WHERE batch = ? AND done = 0 AND owner IS NULL LIMIT 1"
    lines = any(at.execute(free, (batch,)).fetchone() is not None for batch in running)
    return Pending(bool(work), steps, lines, running)


def accept(at: sqlite3.Connection, tenant: str, batch: str, expires: float) -> None:
    """Take a new batch, whose document is stored."""
    at.execute(
        "INSERT INTO batch_work VALUES (?, ?, ?, 'completed', ?, NULL)",
        (batch, tenant, Step.VALIDATE, expires),
    )


def claim_work(at: sqlite3.Connection, runner: str, held: Sequence[str] = ()) -> Work | None:
    """A step that nobody does yet, other than running lines, of a batch that is not among those ``held``:
    what makes room first, and any of the others: none of them is to hold up the rest. None also for a runner
    that is thought to be dead: nobody would free what it claims."""
    found = at.execute(
        "UPDATE batch_work SET owner = :runner WHERE batch = (SELECT batch FROM batch_work"
        " WHERE owner IS NULL AND step <> 'run' AND EXISTS (SELECT 1 FROM runners WHERE id = :runner)"
        " AND batch NOT IN (SELECT value FROM json_each(:held))"
        " ORDER BY step <> 'clean', random() LIMIT 1) RETURNING batch, tenant, step, outcome",
        {"runner": runner, "held": json.dumps(list(held))},
    ).fetchone()
    return None if found is None else Work(found[0], found[1], Step(found[2]), found[3])


def give_back(at: sqlite3.Connection, runner: str, batch: str) -> None:
    """Let somebody else do a step, or oneself later."""
    at.execute("UPDATE batch_work SET owner = NULL WHERE batch = ? AND owner = ?", (batch, runner))


def start(
    at: sqlite3.Connection, runner: str, work: Work, chunks: Iterable[Chunk], now: int, model: str | None
) -> None:
    """Begin to run a batch that was found valid, unless it has been cancelled meanwhile."""
    if not _move(at, runner, work, Step.RUN):
        return
    at.executemany(
        "INSERT INTO batch_chunks (batch, chunk, begins, bytes, line, lines) VALUES (?, ?, ?, ?, ?, ?)",
        ((work.batch, c.number, c.begins, c.size, c.line, c.lines) for c in chunks),
    )
    more = {} if model is None else {"model": model}
    _change(at, work.tenant, work.batch, "in_progress", in_progress_at=now, **more)


def fail(
    at: sqlite3.Connection, runner: str, work: Work, errors: Sequence[Mapping[str, Any]], now: int
) -> None:
    """End a batch that was found invalid."""
    if _move(at, runner, work, Step.CLEAN):
        listed = {"object": "list", "data": list(errors)}
        _change(at, work.tenant, work.batch, "failed", failed_at=now, errors=listed)


_CLAIMABLE = """
    WITH held AS MATERIALIZED (SELECT value AS name FROM json_each(:held)),
    busy AS MATERIALIZED (
        SELECT w.tenant, c.batch, c.owner FROM batch_work w JOIN batch_chunks c
        ON c.batch = w.batch AND c.done = 0 AND c.owner IS NOT NULL WHERE w.step = 'run'
    ),
    next AS MATERIALIZED (
        SELECT w.tenant, w.batch, (
            SELECT c.chunk FROM batch_chunks c WHERE c.batch = w.batch AND c.done = 0 AND c.owner IS NULL
            AND c.batch || ':' || c.chunk NOT IN held ORDER BY c.chunk LIMIT 1
        ) AS chunk FROM batch_work w WHERE w.step = 'run' AND w.batch NOT IN held
        AND NOT (:first AND w.batch IN (SELECT batch FROM busy WHERE owner = :runner))
    )
    SELECT batch, chunk FROM next n WHERE chunk IS NOT NULL
    AND EXISTS (SELECT 1 FROM runners WHERE id = :runner)
    ORDER BY (SELECT COUNT(*) FROM busy b WHERE b.tenant = n.tenant),
    (SELECT COUNT(*) FROM busy b WHERE b.batch = n.batch) LIMIT 1
"""


def claim_chunk(
    at: sqlite3.Connection, runner: str, held: Sequence[str] = (), *, first: bool = False
) -> tuple[Chunk, frozenset[int]] | None:
    """Lines that nobody runs yet, and which of them have been answered; None also for a runner that is
    thought to be dead.

    They are of the tenant, and there of the batch, that has the fewest running.

    Args:
        at: The database.
        runner: Who claims them.
        held: Batches, and chunks as ``batch:chunk``, that are to be left alone.
        first: Whether only batches of which ``runner`` has no lines yet.
    """
    values = {"held": json.dumps(list(held)), "runner": runner, "first": first}
    name = at.execute(_CLAIMABLE, values).fetchone()
    if name is None:
        return None
    found = at.execute(
        "UPDATE batch_chunks SET owner = ? WHERE batch = ? AND chunk = ?"
        " RETURNING batch, chunk, begins, bytes, line, lines",
        (runner, *name),
    ).fetchone()
    answered = at.execute("SELECT line FROM batch_results WHERE batch = ? AND chunk = ?", found[:2])
    return Chunk(*found), frozenset(line for (line,) in answered)


def give_back_chunk(at: sqlite3.Connection, runner: str, chunk: Chunk) -> None:
    """Let somebody else run the rest of a chunk, or oneself later."""
    at.execute(
        "UPDATE batch_chunks SET owner = NULL WHERE batch = ? AND chunk = ? AND owner = ?",
        (chunk.batch, chunk.number, runner),
    )


def put_result(at: sqlite3.Connection, chunk: Chunk, result: Result, now: int, most_bytes: int) -> bool:
    """Keep what a line came to, unless there is a result already; whether the batch still runs.

    Results count for their batch. One that does not fit into the store's ``most_bytes`` ends it.
    """
    work = at.execute("SELECT tenant, step FROM batch_work WHERE batch = ?", (chunk.batch,)).fetchone()
    if work is None or work[1] != Step.RUN:
        return False
    if rows.total_bytes(at) + len(result.body) > most_bytes:
        end(at, work[0], chunk.batch, "failed", now, errors=full_errors())
        return False
    usage = json.dumps(dict(result.usage))
    inserted = at.execute(
        "INSERT OR IGNORE INTO batch_results VALUES (?, ?, ?, ?, ?, ?)",
        (chunk.batch, chunk.number, result.line, result.failed, usage, result.body),
    )
    if not inserted.rowcount:
        return True
    rows.grow(at, BATCHES.name, work[0], chunk.batch, len(result.body))
    at.execute(
        "UPDATE batch_chunks SET answered = answered + ?, failed = failed + ?,"
        " done = answered + failed + 1 = lines WHERE batch = ? AND chunk = ?",
        (not result.failed, result.failed, chunk.batch, chunk.number),
    )
    open_chunk = "SELECT 1 FROM batch_chunks WHERE batch = ? AND done = 0 LIMIT 1"
    if at.execute(open_chunk, (chunk.batch,)).fetchone() is None:
        end(at, work[0], chunk.batch, "completed", now)
        return False
    return True


def full_errors() -> dict[str, Any]:
    """The ``errors`` of a batch that the store has no room for."""
    return _errors("storage_full", FULL)


def bar(at: sqlite3.Connection, batch: str, now: int, code: str, message: str) -> None:
    """End a batch none of whose lines will be let in any more, if they are still run; what has been answered
    is kept, and the error told once."""
    work = at.execute("SELECT tenant FROM batch_work WHERE batch = ? AND step = 'run'", (batch,)).fetchone()
    if work is not None:
        end(at, work[0], batch, "failed", now, errors=_errors(code, message))


def end(at: sqlite3.Connection, tenant: str, batch: str, outcome: str, now: int, **more: Any) -> None:
    """Let no more lines of a batch be run, and its files be made; ``more`` is told of it."""
    at.execute(
        "UPDATE batch_work SET step = 'finish', outcome = ?, owner = NULL WHERE batch = ?", (outcome, batch)
    )
    if outcome == "cancelled":
        _change(at, tenant, batch, "cancelling", cancelling_at=now, **more)
    else:
        _change(at, tenant, batch, "finalizing", finalizing_at=now, **more)


def expire(at: sqlite3.Connection, now: float) -> None:
    """End the batches whose time is over."""
    found = at.execute(
        "SELECT tenant, batch FROM batch_work WHERE step IN ('validate', 'run') AND expires <= ?", (now,)
    ).fetchall()
    for tenant, batch in found:
        end(at, tenant, batch, "expired", int(now))


def chunks(at: sqlite3.Connection, batch: str) -> Sequence[Chunk]:
    """All chunks of a batch, in order."""
    found = at.execute(
        "SELECT chunk, begins, bytes, line, lines, done FROM batch_chunks WHERE batch = ? ORDER BY chunk",
        (batch,),
    )
    return [Chunk(batch, c, begins, size, line, n, bool(done)) for c, begins, size, line, n, done in found]


def results(at: sqlite3.Connection, chunk: Chunk) -> Iterator[Result]:
    """The results of a chunk's lines, in order, as they are read."""
    found = at.execute(
        "SELECT line, failed, usage, body FROM batch_results WHERE batch = ? AND chunk = ? ORDER BY line",
        (chunk.batch, chunk.number),
    )
    for line, failed, usage, body in found:
        yield Result(line, bool(failed), json.loads(usage), body)


def result_bytes(at: sqlite3.Connection, batch: str) -> int:
    """What a batch's results count for."""
    size: int = at.execute(
        "SELECT COALESCE(SUM(LENGTH(body)), 0) FROM batch_results WHERE batch = ?", (batch,)
    ).fetchone()[0]
    return size


def finish(
    at: sqlite3.Connection, runner: str, work: Work, files: Iterable[Row], changes: Mapping[str, Any]
) -> bool:
    """End a batch with the files of its results; whether it was this runner's to end."""
    if not _move(at, runner, work, Step.CLEAN):
        return False
    rows.grow(at, BATCHES.name, work.tenant, work.batch, -result_bytes(at, work.batch))  # the files count now
    for row in files:
        rows.put(at, FILES.name, row)
    _change(at, work.tenant, work.batch, work.outcome, **changes)
    return True


def clean(at: sqlite3.Connection, batch: str, most: int) -> bool:
    """Remove some of an ended batch's results, which its files hold now; whether that was all."""
    at.execute(
        "DELETE FROM batch_results WHERE rowid IN (SELECT rowid FROM batch_results WHERE batch = ? LIMIT ?)",
        (batch, most),
    )
    return at.execute("SELECT 1 FROM batch_results WHERE batch = ? LIMIT 1", (batch,)).fetchone() is None


def forget(at: sqlite3.Connection, tenant: str, batch: str) -> None:
    """Have nothing more to do for an ended batch, whose input is gone and counts no more."""
    at.execute("DELETE FROM batch_chunks WHERE batch = ?", (batch,))
    at.execute("DELETE FROM batch_work WHERE batch = ?", (batch,))
    row = rows.get(at, BATCHES.name, tenant, batch, 0)
    if row is not None:
        rows.grow(at, BATCHES.name, tenant, batch, -row.content_bytes)


def counts(at: sqlite3.Connection, batch: str) -> dict[str, int]:
    """How far a batch is."""
    total, answered, failed = at.execute(
        "SELECT COALESCE(SUM(lines), 0), COALESCE(SUM(answered), 0), COALESCE(SUM(failed), 0)"
        " FROM batch_chunks WHERE batch = ?",
        (batch,),
    ).fetchone()
    return {"total": total, "completed": answered, "failed": failed}


def _errors(code: str, message: str) -> dict[str, Any]:
    return {"object": "list", "data": [{"code": code, "message": message, "param": None, "line": None}]}


def _move(at: sqlite3.Connection, runner: str, work: Work, step: Step) -> bool:
    """Come to the next step, if the runner still has the one before."""
    moved = at.execute(
        "UPDATE batch_work SET step = ?, owner = NULL WHERE batch = ? AND step = ? AND owner = ?",
        (step, work.batch, work.step, runner),
    )
    return moved.rowcount == 1


def _change(at: sqlite3.Connection, tenant: str, batch: str, status: str, **more: Any) -> None:
    row = rows.get(at, BATCHES.name, tenant, batch, 0)
    if row is not None:
        document = json.dumps(json.loads(row.document) | {"status": status} | more)
        rows.update(at, BATCHES.name, replace(row, status=status, document=document.encode()))
