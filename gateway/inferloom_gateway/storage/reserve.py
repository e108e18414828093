"""Room on the disk for what makes room: SQLite writes before it deletes."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from inferloom_gateway.storage.database import Database, Work
from inferloom_gateway.storage.failures import on_disk
from inferloom_mesh.errors import InferloomError, Reason

T = TypeVar("T")

SIZE = 8 * 2**20
"""Bytes: more than a transaction that deletes writes first, and a WAL grows to before it is emptied."""


class Reserve:
    """A file of noise, which is given up where the disk is so full that nothing could be deleted. Zeros may
    take no room.

    Args:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def fill(self) -> None:
        """Make it, if it is not there whole and fits. Blocks."""
        try:
            if self._path.exists() and self._path.stat().st_size == SIZE:
                return
            if shutil.disk_usage(self._path.parent).free < SIZE:
                return  # one that is smaller is of more use than none, and others need what is left
            with self._path.open("wb") as file:
                file.write(os.urandom(SIZE))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                self._path.unlink()

    def give_up(self) -> None:
        """Let others have the room. Blocks."""
        self._path.unlink(missing_ok=True)

    async def freeing(self, database: Database, work: Work[T]) -> T:
        """Do something that deletes: :meth:`Database.write`, with the reserve where the disk is full."""
        try:
            return await database.write(work)
        except InferloomError as failure:
            if failure.reason is not Reason.STORAGE_FULL:
                raise
            await on_disk(self.give_up)  # or somebody has just done so
            return await database.write(work)
