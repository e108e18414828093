"""What lines of batches came to. Synchronous, for a transaction.

The result of a line is a row of its own, and there is one at most: of two that computed a line, because one
was thought to be dead, the first is heard. A chunk is named by its batch and its number there.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """What one line came to."""

    line: int
    failed: bool
    usage: Mapping[str, int]
    body: bytes
    """Its line in the file of results."""


def put(at: sqlite3.Connection, batch: str, chunk: int, result: Result) -> bool:
    """Keep what a line came to; False: there is a result of it already, which stays."""
    usage = json.dumps(dict(result.usage))
    inserted = at.execute(
        "INSERT OR IGNORE INTO batch_results VALUES (?, ?, ?, ?, ?, ?)",
        (batch, chunk, result.line, result.failed, usage, result.body),
    )
    return inserted.rowcount == 1


def has(at: sqlite3.Connection, batch: str, chunk: int, line: int) -> bool:
    """Whether there is a result of a line."""
    found = "SELECT 1 FROM batch_results WHERE batch = ? AND chunk = ? AND line = ?"
    return at.execute(found, (batch, chunk, line)).fetchone() is not None


def lines(at: sqlite3.Connection, batch: str, chunk: int) -> frozenset[int]:
    """The numbers of a chunk's lines that have a result."""
    found = at.execute("SELECT line FROM batch_results WHERE batch = ? AND chunk = ?", (batch, chunk))
    return frozenset(line for (line,) in found)


def of_chunk(at: sqlite3.Connection, batch: str, chunk: int) -> Iterator[Result]:
    """The results of a chunk's lines, in order, as they are read."""
    found = at.execute(
        "SELECT line, failed, usage, body FROM batch_results WHERE batch = ? AND chunk = ? ORDER BY line",
        (batch, chunk),
    )
    for line, failed, usage, body in found:
        yield Result(line, bool(failed), json.loads(usage), body)


def size(at: sqlite3.Connection, batch: str) -> int:
    """What a batch's results count for, in bytes."""
    counted: int = at.execute(
        "SELECT COALESCE(SUM(LENGTH(body)), 0) FROM batch_results WHERE batch = ?", (batch,)
    ).fetchone()[0]
    return counted


def remove(at: sqlite3.Connection, batch: str, most: int) -> bool:
    """Remove ``most`` of an ended batch's results, which its files hold now; whether those were all."""
    at.execute(
        "DELETE FROM batch_results WHERE rowid IN (SELECT rowid FROM batch_results WHERE batch = ? LIMIT ?)",
        (batch, most),
    )
    return at.execute("SELECT 1 FROM batch_results WHERE batch = ? LIMIT 1", (batch,)).fetchone() is None
