"""Room on the disk for what makes room: SQLite writes before it deletes."""

import os
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from inferloom_gateway.storage.database import Database, Work
from inferloom_gateway.storage.failures import on_disk
from inferloom_mesh.errors import InferloomError, Reason

T = TypeVar("T")

SIZE = 2**20
"""Bytes: far more than a transaction's journal has that deletes."""


class Reserve:
    """A file of nothing, which is given up where the disk is so full that nothing could be deleted.

    Args:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def fill(self) -> None:
        """Make it, if it is not there and fits. Blocks."""
        if self._path.exists():
            return
        try:
            with self._path.open("wb") as file:
                file.write(bytes(SIZE))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                self._path.unlink()

    def give_up(self) -> bool:
        """Let others have the room; whether there was any. Blocks."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        return True

    async def freeing(self, database: Database, work: Work[T]) -> T:
        """Do something that deletes: :meth:`Database.write`, with the reserve where the disk is full."""
        try:
            return await database.write(work)
        except InferloomError as failure:
            if failure.reason is not Reason.STORAGE_FULL or not await on_disk(self.give_up):
                raise
            return await database.write(work)
