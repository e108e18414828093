"""One open store."""

import asyncio
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.storage import rows
from inferloom_gateway.storage.contents import Contents
from inferloom_gateway.storage.database import Database, Work
from inferloom_gateway.storage.documents import Documents, Limits
from inferloom_gateway.storage.failures import FULL, full, on_disk
from inferloom_gateway.storage.ids import new_store_id
from inferloom_gateway.storage.kinds import BATCHES, Kind
from inferloom_gateway.storage.migrations import migrate
from inferloom_gateway.storage.reserve import SIZE
from inferloom_gateway.storage.schema import MIGRATIONS
from inferloom_mesh.errors import InferloomError, Reason

T = TypeVar("T")

DATABASE = "store.sqlite3"

SWEEP_S = 60.0
"""How often expired things are removed, by whichever process comes first; nobody sees them before that."""

DISK_S = 1.0
"""For how long a disk that had room is taken to have it still by what is small."""

_AT_ONCE = 100
"""Rows that one transaction removes: each is on several pages of its own, which fit into the reserve."""

_STORE_ID = "store_id"
_SWEPT = "swept"


class Store:
    """A folder with a database and contents. Several processes may have it open."""

    def __init__(self, database: Database, contents: Contents, store_id: str, limits: Limits) -> None:
        self.database = database
        self.contents = contents
        self.id = store_id
        self.limits = limits
        self._had_room = float("-inf")

    @classmethod
    def open(cls, folder: Path, settings: GatewaySettings) -> Self:
        """Open a store, making it where it is not there. Blocks.

        Raises:
            NewerSchemaError: It was written by a newer version.
            sqlite3.Error, OSError: It cannot be used.
        """
        contents = Contents(folder / "contents", settings.store_spare_bytes)
        contents.reserve.fill()
        found: list[str] = []

        def prepare(connection: sqlite3.Connection) -> None:
            migrate(connection, MIGRATIONS)
            connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (_STORE_ID, new_store_id()))
            found.extend(connection.execute("SELECT value FROM meta WHERE key = ?", (_STORE_ID,)).fetchone())

        database = Database.open(folder / DATABASE, settings.store_journal, prepare)
        limits = Limits(settings.store_max_bytes, settings.store_max_items)
        return cls(database, contents, found[0], limits)

    def documents(self, kind: Kind) -> Documents:
        """The stored things of one kind."""
        return Documents(self.database, self.contents, kind, self.id, self.limits)

    async def batch(self, name: str) -> rows.Row | None:
        """A batch's row, whoever's it is."""
        return await self.database.read(lambda at: rows.anybodys(at, BATCHES.name, name))

    async def check_room(self, size: int = 0) -> None:
        """See to it that so many bytes more can be stored.

        Raises:
            InferloomError: They cannot.
        """
        await on_disk(lambda: self.contents.check_room(size))
        if await self.database.read(rows.total_bytes) + size > self.limits.total_bytes:
            raise full(FULL)

    async def check_disk(self) -> None:
        """See to it that the disk has what is to be spare, as it was within :data:`DISK_S`.

        Raises:
            InferloomError: It has not.
        """
        if time.monotonic() - self._had_room > DISK_S:
            await on_disk(self.contents.check_room)
            self._had_room = time.monotonic()

    async def sweep(self) -> None:
        """Remove what has expired and what nobody owns, unless another process has just done so.

        Raises:
            InferloomError: The store cannot be used.
        """
        try:
            if not await self.database.write(_claims_sweep):
                return
        except InferloomError as failure:
            if failure.reason is not Reason.STORAGE_FULL:
                raise
            # The reserve is for what makes room: nobody's turn on a full disk is everybody's.
        while await self._remove_expired():
            pass
        await self._remove_ownerless()
        while await self.database.write(lambda at: rows.forget_places(at, time.time(), _AT_ONCE)) == _AT_ONCE:
            pass
        await on_disk(self._fill_reserve)

    async def free(self, work: Work[T]) -> T:
        """Do something that deletes, also on a full disk. Raises as :meth:`Database.write`."""
        return await self.contents.reserve.freeing(self.database, work)

    def _fill_reserve(self) -> None:
        with suppress(InferloomError):
            self.contents.check_room(SIZE)
            self.contents.reserve.fill()

    async def _remove_expired(self) -> bool:
        """Remove some of what has expired; whether there was any."""
        if not await self.database.read(lambda at: rows.expired(at, time.time(), 1)):
            return False

        def work(connection: sqlite3.Connection) -> list[tuple[str, rows.Row]]:
            gone = list(rows.expired(connection, time.time(), _AT_ONCE))
            for kind, row in gone:
                rows.delete(connection, kind, row.tenant, row.id, 0)
            return gone

        gone = await self.free(work)

        def remove() -> None:
            for _, row in gone:
                if row.content_bytes:
                    self.contents.delete(row.id)

        await on_disk(remove)
        return True

    async def _remove_ownerless(self) -> None:
        """Remove contents that were being made when a process died."""

        def look() -> list[str]:
            for path in self.contents.abandoned():
                path.unlink(missing_ok=True)
            return list(self.contents.names())

        names = await on_disk(look)

        def ownerless(connection: sqlite3.Connection) -> list[str]:
            return [name for name in names if not rows.exists(connection, name)]

        lost = await self.database.read(ownerless)

        def remove() -> None:
            for name in lost:
                self.contents.delete(name)

        await on_disk(remove)

    async def close(self) -> None:
        """Finish what has been asked for, and close."""
        await asyncio.to_thread(self.database.close)


def _claims_sweep(connection: sqlite3.Connection) -> bool:
    """Whether it is time to sweep, and this process is the one to do it."""
    now = time.time()
    connection.execute("INSERT OR IGNORE INTO meta VALUES (?, 0.0)", (_SWEPT,))
    claimed = connection.execute(
        "UPDATE meta SET value = ? WHERE key = ? AND value NOT BETWEEN ? AND ?",
        (now, _SWEPT, now - SWEEP_S, now),
    )
    return claimed.rowcount == 1
