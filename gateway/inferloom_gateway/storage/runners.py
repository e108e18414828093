"""Which gateways run batches, and what becomes of the claims of one that is gone. Synchronous."""

import sqlite3
from collections.abc import Mapping

BEATS = 5
"""How often in a lease a runner says that it is alive."""


def join(at: sqlite3.Connection, runner: str) -> None:
    """Begin to run batches."""
    at.execute("INSERT OR IGNORE INTO runners VALUES (?, 0)", (runner,))


def beat(at: sqlite3.Connection, runner: str) -> bool:
    """Say that one is alive; False: one was thought to be dead, and has no claims any more."""
    return at.execute("UPDATE runners SET beat = beat + 1 WHERE id = ?", (runner,)).rowcount == 1


def beats(at: sqlite3.Connection) -> Mapping[str, int]:
    """How often each has said so."""
    return dict(at.execute("SELECT id, beat FROM runners").fetchall())


def release(at: sqlite3.Connection, runner: str) -> None:
    """Let others do what a runner has claimed."""
    at.execute("UPDATE batch_work SET owner = NULL WHERE owner = ?", (runner,))
    at.execute("UPDATE batch_chunks SET owner = NULL WHERE owner = ?", (runner,))
    at.execute("DELETE FROM runners WHERE id = ?", (runner,))


def free(at: sqlite3.Connection) -> None:
    """Let others do what is claimed by somebody who is not known: nobody would ever find him silent."""
    at.execute("UPDATE batch_work SET owner = NULL WHERE owner NOT IN (SELECT id FROM runners)")
    at.execute(
        "UPDATE batch_chunks SET owner = NULL WHERE batch IN (SELECT batch FROM batch_work) AND done = 0"
        " AND owner NOT IN (SELECT id FROM runners)"
    )


class Watch:
    """Tells which runners are silent, by one's own clock: those of machines need not agree. Pure.

    Args:
        lease_s: How long a runner may be silent before its claims are others', in seconds.
    """

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._seen: dict[str, tuple[int, float]] = {}

    def silent(self, beats: Mapping[str, int], now: float) -> list[str]:
        """The runners that have said nothing new for a lease.

        Args:
            beats: How often each has spoken.
            now: Monotonic seconds.
        """
        before = self._seen
        self._seen = {
            runner: known if (known := before.get(runner)) is not None and known[0] == count else (count, now)
            for runner, count in beats.items()
        }
        return [runner for runner, (_, since) in self._seen.items() if now - since >= self._lease_s]
