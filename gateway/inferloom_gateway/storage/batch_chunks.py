"""The lines of batches that run, in chunks, and who runs them. Synchronous, for a transaction.

A chunk is claimed by one runner at a time.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inferloom_gateway.storage import batch_results


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some lines of a batch's input."""

    batch: str
    number: int
    begins: int
    """Where they begin in the input, in bytes."""
    size: int
    """How long they are there, in bytes."""
    line: int
    """The number of the first, from 1 on, with empty lines counted."""
    lines: int
    """How many requests there are in it."""
    done: bool = False
    """Whether each of these has a result."""


def add(at: sqlite3.Connection, chunks: Iterable[Chunk]) -> None:
    """Let the lines of a batch be run."""
    at.executemany(
        "INSERT INTO batch_chunks (batch, chunk, begins, bytes, line, lines) VALUES (?, ?, ?, ?, ?, ?)",
        ((each.batch, each.number, each.begins, each.size, each.line, each.lines) for each in chunks),
    )


def free(at: sqlite3.Connection, batch: str) -> bool:
    """Whether a batch has lines that nobody runs."""
    found = "SELECT 1 FROM batch_chunks WHERE batch = ? AND done = 0 AND owner IS NULL LIMIT 1"
    return at.execute(found, (batch,)).fetchone() is not None


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


def claim(
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
    return Chunk(*found), batch_results.lines(at, *name)


def give_back(at: sqlite3.Connection, runner: str, chunk: Chunk) -> None:
    """Let somebody else run the rest of a chunk, or oneself later."""
    at.execute(
        "UPDATE batch_chunks SET owner = NULL WHERE batch = ? AND chunk = ? AND owner = ?",
        (chunk.batch, chunk.number, runner),
    )


def count(at: sqlite3.Connection, chunk: Chunk, *, failed: bool) -> bool:
    """Count one more line of a chunk that has a result; whether the batch has lines without one."""
    at.execute(
        "UPDATE batch_chunks SET answered = answered + ?, failed = failed + ?,"
        " done = answered + failed + 1 = lines WHERE batch = ? AND chunk = ?",
        (not failed, failed, chunk.batch, chunk.number),
    )
    left = "SELECT 1 FROM batch_chunks WHERE batch = ? AND done = 0 LIMIT 1"
    return at.execute(left, (chunk.batch,)).fetchone() is not None


def of_batch(at: sqlite3.Connection, batch: str) -> Sequence[Chunk]:
    """All chunks of a batch, in order."""
    found = at.execute(
        "SELECT chunk, begins, bytes, line, lines, done FROM batch_chunks WHERE batch = ? ORDER BY chunk",
        (batch,),
    )
    return [Chunk(batch, c, begins, size, line, n, bool(done)) for c, begins, size, line, n, done in found]


def counts(at: sqlite3.Connection, batch: str) -> dict[str, int]:
    """How far a batch is."""
    total, answered, failed = at.execute(
        "SELECT COALESCE(SUM(lines), 0), COALESCE(SUM(answered), 0), COALESCE(SUM(failed), 0)"
        " FROM batch_chunks WHERE batch = ?",
        (batch,),
    ).fetchone()
    return {"total": total, "completed": answered, "failed": failed}


def remove(at: sqlite3.Connection, batch: str) -> None:
    """Forget the lines of a batch that is over."""
    at.execute("DELETE FROM batch_chunks WHERE batch = ?", (batch,))
