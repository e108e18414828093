"""Workers that were lost with requests, as the gateways of one store share them."""

import sqlite3
from collections.abc import Sequence

from inferloom_gateway.calls.poison import KEPT_S, MOST, Loss
from inferloom_gateway.storage.migrations import Migration

MIGRATION = Migration(
    "workers lost with requests",
    (
        """CREATE TABLE losses (
            tenant TEXT NOT NULL, digest BLOB NOT NULL, worker TEXT NOT NULL, at REAL NOT NULL,
            PRIMARY KEY (tenant, digest, worker)
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX losses_at ON losses (at)",
    ),
)


def write(connection: sqlite3.Connection, losses: Sequence[Loss], now: float) -> None:
    """Add losses, and remove what is old, of the acquitted, or too much."""
    for loss in losses:
        if loss.worker:
            connection.execute("INSERT OR REPLACE INTO losses VALUES (?, ?, ?, ?)", loss)
        else:
            connection.execute("DELETE FROM losses WHERE tenant = ? AND digest = ?", loss[:2])
    connection.execute("DELETE FROM losses WHERE at < ?", (now - KEPT_S,))
    connection.execute(
        "DELETE FROM losses WHERE at < (SELECT at FROM losses ORDER BY at DESC LIMIT 1 OFFSET ?)", (MOST - 1,)
    )


def read(connection: sqlite3.Connection, since: float) -> list[Loss]:
    """Those from a moment on, the oldest first."""
    found = connection.execute(
        "SELECT tenant, digest, worker, at FROM losses WHERE at >= ? ORDER BY at LIMIT ?", (since, MOST)
    )
    return [Loss(*row) for row in found.fetchall()]
