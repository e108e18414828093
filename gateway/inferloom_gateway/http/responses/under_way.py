"""Responses in background, as the store knows them: begun, followed, ended, given up or left behind."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import orjson

from inferloom_gateway.http.responses.ending import LEFT_BEHIND, is_lost, kind_of, stop, update
from inferloom_gateway.http.responses.kept import UNDER_WAY, Kept
from inferloom_gateway.http.responses.saved import Saved
from inferloom_gateway.http.translate.responses import document
from inferloom_gateway.http.translate.responses.document import Document
from inferloom_gateway.storage import rows, runs
from inferloom_gateway.storage.kinds import RESPONSES
from inferloom_gateway.storage.runs import Chunk, Run
from inferloom_mesh.errors import invalid, overloaded

T = TypeVar("T")

CLAIM_S = 15.0
"""How long a process that makes a response may be silent before it is taken for dead."""

_AT_ONCE = 16
"""Chunks of events that are read at once."""


@dataclass(frozen=True, slots=True)
class News:
    """What has become of a response."""

    chunks: Sequence[Chunk] = ()
    over: Document | None = None
    """The response, if there will be no more events."""
    last: tuple[int, str] | None = None
    """Number and type of the last event of a response that is over; None: it has none."""


class UnderWay:
    """The responses in background of all gateways that share a store.

    All methods raise InferloomError if the store cannot be used.

    Args:
        kept: The responses that are kept.
        owner: This process, by a name that no other has.
        most: How many may be under way at once.
    """

    def __init__(self, kept: Kept, owner: str, most: int) -> None:
        self._kept = kept
        self._owner = owner
        self._most = most

    async def begin(self, tenant: str, saved: Saved) -> None:
        """Keep a response that is to be made, and claim it.

        Raises:
            InferloomError: Too many are under way, or there is no room for it.
        """
        store, row = await self._kept.storage.open(), saved.row(tenant, self._kept.age_s)
        await store.check_disk()
        documents = store.documents(RESPONSES)

        def work(connection: sqlite3.Connection) -> None:
            if runs.alive(connection, time.time()) >= self._most:
                message = "As many responses in background are under way as may be."
                raise overloaded(message, retry_after=5.0)
            documents.put_in(connection, row)
            runs.claim(connection, self._run(row.id))

        await self._write(work)

    async def tell(self, tenant: str, name: str, chunk: Chunk, made: Document | None = None) -> bool:
        """Renew the claim, and add events and the response as it stands; False: it was given up meanwhile."""

        def work(connection: sqlite3.Connection) -> bool:
            if not runs.renew(connection, self._run(name)):
                return False
            runs.append(connection, name, chunk)
            if made is not None:
                update(connection, tenant, name, made)
            return True

        return await self._write(work)

    async def end(self, tenant: str, name: str, chunk: Chunk, made: Document) -> bool:
        """Add the last events, and keep the response; False: it was given up meanwhile."""

        def work(connection: sqlite3.Connection) -> bool:
            if not runs.renew(connection, self._run(name)):
                return False
            runs.append(connection, name, chunk)
            update(connection, tenant, name, made)
            runs.release(connection, name)
            return True

        return await self._write(work)

    async def news(self, tenant: str, name: str, after: int) -> News:
        """The events after one number, and the response if it is over.

        Raises:
            InferloomError: There is no such response.
        """
        missing = (await self._kept.documents()).missing

        def work(connection: sqlite3.Connection) -> News | None:
            if is_lost(connection, name):
                return None
            chunks = runs.events(connection, name, after, _AT_ONCE)
            if chunks or runs.find(connection, name) is not None:
                return News(chunks)
            row = rows.get(connection, RESPONSES.name, tenant, name, time.time())
            if row is None:
                raise missing(name)
            last = runs.last_event(connection, name)
            told = None if last is None else (last[0], kind_of(last[1]))
            return News(over=orjson.loads(row.document), last=told)

        while (news := await self._read(work)) is None:
            await self.settle(tenant, name)
        return news

    async def seen(self, name: str) -> tuple[int, bool]:
        """The number of the last event of a response (-1: it has none), and whether no more will come."""

        def work(connection: sqlite3.Connection) -> tuple[int, bool]:
            over = runs.find(connection, name) is None or is_lost(connection, name)
            return runs.last_number(connection, name), over

        return await self._read(work)

    async def cancel(self, tenant: str, name: str) -> Document:
        """Give a response up, if it is under way; return it.

        Raises:
            InferloomError: There is no such response, or it was not made in background.
        """
        await self.settle(tenant, name)
        missing = (await self._kept.documents()).missing

        def work(connection: sqlite3.Connection) -> Document:
            row = rows.get(connection, RESPONSES.name, tenant, name, time.time())
            if row is None:
                raise missing(name)
            found: Document = orjson.loads(row.document)
            if not found["background"]:
                raise invalid("response_id", "Only a response with background=true can be cancelled.")
            if found["status"] not in UNDER_WAY:
                return found
            return stop(connection, row, document.cancelled)

        return await self._write(work)

    async def settle(self, tenant: str, name: str) -> None:
        """End a response whose process is dead as a failed one."""

        if not await self._read(lambda connection: is_lost(connection, name)):
            return

        def work(connection: sqlite3.Connection) -> None:
            row = rows.get(connection, RESPONSES.name, tenant, name, time.time())
            if row is not None and is_lost(connection, name):
                stop(connection, row, lambda found: document.failed(found, found["output"], LEFT_BEHIND))

        await self._write(work)

    def _run(self, name: str) -> Run:
        return Run(name, self._owner, time.time() + CLAIM_S)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await (await self._kept.storage.open()).database.read(work)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await (await self._kept.storage.open()).database.write(work)
