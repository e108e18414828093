"""What a database or a disk does not do, in words for the caller."""

import asyncio
import errno
import logging
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from inferloom_mesh.errors import InferloomError, Reason, overloaded

T = TypeVar("T")

log = logging.getLogger(__name__)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MOST_BUSY_S = 1.0

FULL = "The gateway's store is full: store_max_bytes bounds it."
"""What is said when that bound is reached."""


def full(message: str = "The gateway's disk is full: nothing more can be stored.") -> InferloomError:
    """The error for a store without room."""
    return InferloomError(Reason.STORAGE_FULL, message)


def unavailable(failure: Exception) -> InferloomError:
    """The error for a store that cannot be read or written now; the log says what is wrong with it."""
    log.error("the store cannot be used: %s", failure)
    return InferloomError(
        Reason.STORAGE_UNAVAILABLE,
        "The gateway's store cannot be used now; its log says why.",
        retry_after=5.0,
    )


def in_words(failure: sqlite3.Error | OSError) -> InferloomError:
    """What to tell the caller about a failure of the database or of the folder."""
    if isinstance(failure, OSError):
        return full() if failure.errno in _FULL else unavailable(failure)
    code = getattr(failure, "sqlite_errorcode", None)
    if code is None:
        return unavailable(failure)
    primary = code & 0xFF  # extended codes have their kind in the lowest byte
    if primary == sqlite3.SQLITE_FULL:
        return full()
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return overloaded("The gateway's store is busy.", _MOST_BUSY_S)
    return unavailable(failure)


async def on_disk(work: Callable[[], T]) -> T:
    """Do something with files on a thread.

    Raises:
        InferloomError: The disk does not do it; or what ``work`` raises.
    """
    try:
        return await asyncio.to_thread(work)
    except OSError as failure:
        raise in_words(failure) from failure
