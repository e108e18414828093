"""What a database or a disk does not do, in words for the caller."""

import asyncio
import errno
import logging
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from inferloom_mesh.errors import InferloomError, Reason, overloaded

T = TypeVar("T")

log = logging.getLogger(__name__)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MOST_BUSY_S = 1.0

SAID_AGAIN_S = 60.0
"""How often the log says the same of a store."""

FULL = "The gateway's store is full: store_max_bytes bounds it."
"""What is said when that bound is reached."""


class FailureLog:
    """What is wrong with one store, in the log: the same words once a minute, however often it is tried."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._words = ""
        self._said_at = float("-inf")

    def say(self, failure: Exception) -> None:
        """Write a line, unless it was written just now."""
        words, now = str(failure), self._clock()
        if words != self._words or now - self._said_at >= SAID_AGAIN_S:
            self._words, self._said_at = words, now
            log.error("the store cannot be used: %s", words)


def full(message: str = "The gateway's disk is full: nothing more can be stored.") -> InferloomError:
    """The error for a store without room."""
    return InferloomError(Reason.STORAGE_FULL, message)


def unavailable(failure: Exception, said: FailureLog | None = None) -> InferloomError:
    """The error for a store that cannot be read or written now; the log says what is wrong with it."""
    (said or FailureLog()).say(failure)
    return InferloomError(
        Reason.STORAGE_UNAVAILABLE,
        "The gateway's store cannot be used now; its log says why.",
        retry_after=5.0,
    )


def in_words(failure: sqlite3.Error | OSError, said: FailureLog | None = None) -> InferloomError:
    """What to tell the caller about a failure of the database or of the folder."""
    if isinstance(failure, OSError):
        return full() if failure.errno in _FULL else unavailable(failure, said)
    code = getattr(failure, "sqlite_errorcode", None)
    if code is None:
        return unavailable(failure, said)
    primary = code & 0xFF  # extended codes have their kind in the lowest byte
    if primary == sqlite3.SQLITE_FULL:
        return full()
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return overloaded("The gateway's store is busy.", _MOST_BUSY_S)
    return unavailable(failure, said)


async def on_disk(work: Callable[[], T]) -> T:
    """Do something with files on a thread.

    Raises:
        InferloomError: The disk does not do it; or what ``work`` raises.
    """
    try:
        return await asyncio.to_thread(work)
    except OSError as failure:
        raise in_words(failure) from failure
