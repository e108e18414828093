"""Suspects on workers, as the gateways of one store share them."""

import sqlite3

from inferloom_gateway.calls.suspect_claims import CLAIM_S, Claim
from inferloom_gateway.storage.migrations import Migration

MIGRATION = Migration(
    "suspects on workers",
    (
        """CREATE TABLE suspects (
            worker TEXT NOT NULL, process TEXT NOT NULL, suspect TEXT NOT NULL, at REAL NOT NULL,
            PRIMARY KEY (worker, process, suspect)
        ) STRICT, WITHOUT ROWID""",
    ),
)

_OTHERS = "SELECT EXISTS (SELECT 1 FROM suspects WHERE worker = ? AND process != ? AND at > ?)"


def enter(connection: sqlite3.Connection, claim: Claim, fresh_s: float, now: float) -> bool:
    """Keep a claim, unless another process made one on the worker less than ``fresh_s`` seconds ago; forget
    those that are too old."""
    connection.execute("DELETE FROM suspects WHERE at < ?", (now - CLAIM_S,))
    if others(connection, claim.worker, claim.process, now - fresh_s):
        return False
    connection.execute("INSERT OR REPLACE INTO suspects VALUES (?, ?, ?, ?)", (*claim, now))
    return True


def leave(connection: sqlite3.Connection, claim: Claim) -> None:
    """Take a claim back."""
    connection.execute("DELETE FROM suspects WHERE worker = ? AND process = ? AND suspect = ?", claim)


def others(connection: sqlite3.Connection, worker: str, process: str, since: float) -> bool:
    """Whether other processes have claims on a worker from after a moment."""
    (found,) = connection.execute(_OTHERS, (worker, process, since)).fetchone()
    return bool(found)
