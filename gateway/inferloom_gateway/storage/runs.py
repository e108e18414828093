"""Responses that are under way, and the events that they have made: what other processes follow them by."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from inferloom_gateway.storage.migrations import Migration

MIGRATION = Migration(
    "runs",
    (
        """CREATE TABLE runs (
            id TEXT PRIMARY KEY, owner TEXT NOT NULL, claimed_until REAL NOT NULL
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE run_events (
            id TEXT NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL, lines BLOB NOT NULL,
            PRIMARY KEY (id, first)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TRIGGER runs_deleted AFTER DELETE ON documents WHEN old.kind = 'response' BEGIN
            DELETE FROM runs WHERE id = old.id;
            DELETE FROM run_events WHERE id = old.id;
        END""",
    ),
)


@dataclass(frozen=True, slots=True)
class Run:
    """Who makes a response, and until when it is believed to."""

    id: str
    owner: str
    """The process, by a name that no other has."""
    claimed_until: float
    """Seconds since 1970; past it the owner is taken for dead."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive events."""

    first: int
    """The number of the first."""
    lines: Sequence[bytes]
    """Each as JSON."""


def claim(connection: sqlite3.Connection, run: Run) -> None:
    """Say that a response is being made."""
    connection.execute("INSERT INTO runs VALUES (?, ?, ?)", (run.id, run.owner, run.claimed_until))


def renew(connection: sqlite3.Connection, run: Run) -> bool:
    """Say that it still is; False: it was ended by somebody else."""
    renewed = connection.execute(
        "UPDATE runs SET claimed_until = ? WHERE id = ? AND owner = ?", (run.claimed_until, run.id, run.owner)
    )
    return renewed.rowcount == 1


def release(connection: sqlite3.Connection, name: str) -> None:
    """Say that it is over."""
    connection.execute("DELETE FROM runs WHERE id = ?", (name,))


def find(connection: sqlite3.Connection, name: str) -> Run | None:
    """The run of a response; None: it is over."""
    found = connection.execute("SELECT owner, claimed_until FROM runs WHERE id = ?", (name,)).fetchone()
    return None if found is None else Run(name, str(found[0]), float(found[1]))


def alive(connection: sqlite3.Connection, now: float) -> int:
    """How many are under way."""
    count: int = connection.execute("SELECT COUNT(*) FROM runs WHERE claimed_until > ?", (now,)).fetchone()[0]
    return count


def append(connection: sqlite3.Connection, name: str, chunk: Chunk) -> None:
    """Add events."""
    if chunk.lines:
        values = (name, chunk.first, len(chunk.lines), b"\n".join(chunk.lines))
        connection.execute("INSERT INTO run_events VALUES (?, ?, ?, ?)", values)


def events(connection: sqlite3.Connection, name: str, after: int, most_chunks: int) -> list[Chunk]:
    """Events with numbers above ``after``, in order, from so many chunks at most."""
    found = connection.execute(
        "SELECT first, lines FROM run_events WHERE id = ? AND first + count - 1 > ? ORDER BY first LIMIT ?",
        (name, after, most_chunks),
    ).fetchall()
    chunks = [Chunk(first, lines.split(b"\n")) for first, lines in found]
    return [
        Chunk(max(chunk.first, after + 1), chunk.lines[max(0, after + 1 - chunk.first) :]) for chunk in chunks
    ]


def last_event(connection: sqlite3.Connection, name: str) -> tuple[int, bytes] | None:
    """The number and the JSON of the last event; None: there is none."""
    found = connection.execute(
        "SELECT first, count, lines FROM run_events WHERE id = ? ORDER BY first DESC LIMIT 1", (name,)
    ).fetchone()
    return None if found is None else (found[0] + found[1] - 1, found[2].rpartition(b"\n")[2])


def last_number(connection: sqlite3.Connection, name: str) -> int:
    """The number of the last event; -1: there is none."""
    found = connection.execute(
        "SELECT first + count - 1 FROM run_events WHERE id = ? ORDER BY first DESC LIMIT 1", (name,)
    ).fetchone()
    return -1 if found is None else int(found[0])


def event_bytes(connection: sqlite3.Connection, name: str) -> int:
    """Bytes that the events of a response take."""
    found = connection.execute(
        "SELECT COALESCE(SUM(LENGTH(lines)), 0) FROM run_events WHERE id = ?", (name,)
    ).fetchone()
    size: int = found[0]
    return size
