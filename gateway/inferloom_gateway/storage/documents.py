"""The stored things of one kind."""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

from inferloom_gateway.storage import rows
from inferloom_gateway.storage.contents import Contents
from inferloom_gateway.storage.database import Database
from inferloom_gateway.storage.failures import FULL, full, on_disk
from inferloom_gateway.storage.ids import NOWHERE, new_id, store_in
from inferloom_gateway.storage.kinds import Kind
from inferloom_gateway.storage.rows import Page, Query, Row
from inferloom_mesh.errors import InferloomError, Reason, invalid, shown


@dataclass(frozen=True, slots=True)
class Limits:
    """What a store holds at most."""

    total_bytes: int
    items: int
    """Of each kind, for each tenant."""


class Documents:
    """Things of one kind, each belonging to a tenant: to all others it is not there.

    All methods raise InferloomError if the store cannot be used.

    Args:
        database: Where they are.
        contents: Where the contents of those are that have one, under their ids.
        kind: Which things.
        store_id: The store's own name.
        limits: What it may hold.
    """

    def __init__(
        self, database: Database, contents: Contents, kind: Kind, store_id: str, limits: Limits
    ) -> None:
        self.kind = kind
        self._database = database
        self._contents = contents
        self._store_id = store_id
        self._limits = limits

    def new_id(self) -> str:
        """A name for a new one."""
        return new_id(self.kind.prefix, self._store_id)

    async def put(self, row: Row) -> None:
        """Keep one; one of the same tenant and name is replaced.

        Raises:
            InferloomError: There is no room for it.
        """
        await self._database.write(lambda connection: self.put_in(connection, row))

    async def get(self, tenant: str, name: str) -> Row:
        """One of a tenant's.

        Raises:
            InferloomError: It is not there.
        """
        found = await self._database.read(lambda c: rows.get(c, self.kind.name, tenant, name, time.time()))
        if found is None:
            raise self.missing(name)
        return found

    async def change(self, tenant: str, name: str, change: Callable[[Row], Row]) -> Row:
        """Replace one with what ``change`` makes of it, on the database's thread; return that.

        Raises:
            InferloomError: It is not there; or what ``change`` raises.
        """

        def work(connection: sqlite3.Connection) -> Row:
            found = rows.get(connection, self.kind.name, tenant, name, time.time())
            if found is None:
                raise self.missing(name)
            changed = change(found)
            rows.update(connection, self.kind.name, changed)
            return changed

        return await self._database.write(work)

    async def delete(self, tenant: str, name: str) -> None:
        """Delete one, with its content, also on a full disk.

        Raises:
            InferloomError: It is not there.
        """

        def work(connection: sqlite3.Connection) -> bool:
            return rows.take_out(connection, self.kind.name, tenant, name, time.time())

        if not await self._contents.reserve.freeing(self._database, work):
            raise self.missing(name)
        await on_disk(lambda: self._contents.delete(name))

    async def page(self, tenant: str, query: Query) -> Page:
        """Some of a tenant's, in the order in which they were made.

        Raises:
            InferloomError: That behind which they are to be is not there.
        """
        return await self._database.read(lambda connection: self.page_in(connection, tenant, query))

    def page_in(self, connection: sqlite3.Connection, tenant: str, query: Query) -> Page:
        """As :meth:`page`, within a transaction of the database's thread."""
        found = rows.page(connection, self.kind.name, tenant, query, time.time())
        if found is None:
            raise invalid("after", f"Invalid 'after': there is no {self.kind.noun} '{query.after}'.")
        return found

    def put_in(self, connection: sqlite3.Connection, row: Row) -> None:
        """As :meth:`put`, within a transaction of the database's thread."""
        kind, limits = self.kind, self._limits
        if rows.total_bytes(connection) + row.size > limits.total_bytes:
            raise full(FULL)
        surplus = rows.held(connection, kind.name, row.tenant) + 1 - limits.items
        if surplus > 0 and not kind.evicts:
            message = f"You have as many things of this kind ({kind.noun}) stored as you may: delete some."
            raise InferloomError(Reason.STORAGE_QUOTA_EXCEEDED, message)
        for name in rows.oldest(connection, kind.name, row.tenant, max(0, surplus)):
            rows.delete(connection, kind.name, row.tenant, name, 0)
        rows.put(connection, kind.name, row)

    def missing(self, name: str) -> InferloomError:
        """The error for one that is not there."""
        message = f"No such {self.kind.noun}: '{shown(name)}'."
        store = store_in(name) if name.startswith(self.kind.prefix) else None
        if store == NOWHERE:
            message += " It was not kept: its request said so (store), or the gateway keeps nothing."
        elif store is not None and store != self._store_id:
            message += (
                f" It is in another gateway's store ({store}), and this gateway's is {self._store_id}."
                " Ask that gateway, or let both share a store (--store)."
            )
        return InferloomError(Reason.NOT_FOUND, message, param="id")
