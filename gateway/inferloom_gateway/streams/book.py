"""Resumable streams as the store knows them."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from inferloom_gateway.storage import streams
from inferloom_gateway.storage.storage import Storage
from inferloom_gateway.storage.streams import KeptStream
from inferloom_mesh.errors import InferloomError, Reason, shown

log = logging.getLogger(__name__)

T = TypeVar("T")

CLAIM_S = 6.0
"""How long a process that makes a stream may be silent before another goes on with it."""

RENEWED_S = 1.5
"""How often a claim is renewed at least."""


def unknown(name: str) -> InferloomError:
    """What is said of a name that no stream has."""
    return InferloomError(Reason.NOT_FOUND, f"There is no resumable stream '{shown(name)}'.", param="id")


@dataclass(frozen=True, slots=True)
class News:
    """How a stream stands, and what is new of it."""

    kept: KeptStream
    events: Sequence[bytes]


class Book:
    """The resumable streams of all gateways that share a store. All methods raise InferloomError if the store
    cannot be used.

    Args:
        storage: The store.
        owner: This process, by a name that no other has.
    """

    def __init__(self, storage: Storage, owner: str) -> None:
        self._storage = storage
        self.owner = owner

    async def begin(self, kept: KeptStream) -> KeptStream:
        """Keep a stream, claimed for this process.

        Raises:
            InferloomError: There is one of this name, there are as many as may be, or the disk is full.
        """
        store = await self._storage.open()
        await store.check_disk()
        now = time.time()
        mine = replace(kept, owner=self.owner, claimed_until=now + CLAIM_S, wanted_until=now + kept.seconds)
        await store.database.write(lambda at: streams.begin(at, mine, now))
        return mine

    async def tell(
        self, kept: KeptStream, first: int, events: Sequence[bytes], over: str | None, *, read: bool
    ) -> bool:
        """Add events and the end, and renew the claim, and what is kept while somebody reads; False: another
        process makes it."""
        now = time.time()
        until = now + kept.seconds if read or over is not None else 0.0
        stream = replace(kept, claimed_until=now + CLAIM_S, wanted_until=until, over=over)
        return await self._write(lambda at: streams.append(at, stream, first, events))

    async def news(self, tenant: str, name: str, first: int) -> News:
        """How a stream stands, with some of its events from the ``first`` on.

        Raises:
            InferloomError: There is none of this name.
        """

        def work(connection: sqlite3.Connection) -> News:
            kept = streams.find(connection, tenant, name, time.time())
            if kept is None:
                raise unknown(name)
            return News(kept, streams.events(connection, tenant, name, first))

        return await (await self._storage.open()).database.read(work)

    async def wanted(self, kept: KeptStream) -> bool:
        """Whether somebody reads it elsewhere, or may come back."""
        found = await (await self._storage.open()).database.read(
            lambda at: streams.find(at, kept.tenant, kept.id, 0.0)
        )
        return found is not None and found.wanted_until >= time.time()

    async def want(self, kept: KeptStream) -> None:
        """Say that somebody reads it."""
        until = time.time() + kept.seconds
        await self._write(lambda at: streams.want(at, kept.tenant, kept.id, until))

    async def take_over(self, kept: KeptStream) -> KeptStream | None:
        """Claim a stream whose process is dead; None: another was faster."""
        now = time.time()
        mine = replace(kept, owner=self.owner, claimed_until=now + CLAIM_S)
        return mine if await self._write(lambda at: streams.take_over(at, mine, now)) else None

    @asynccontextmanager
    async def held(self, kept: KeptStream) -> AsyncIterator[None]:
        """Renew the claim on a stream of which there is no news yet, until the block ends or another process
        has it."""
        holding = asyncio.create_task(self._hold(kept))
        try:
            yield
        finally:
            holding.cancel()

    async def _hold(self, kept: KeptStream) -> None:
        renewed = True
        while renewed:
            await asyncio.sleep(RENEWED_S)
            try:
                renewed = await self.tell(kept, 0, [], None, read=True)
            except InferloomError as failure:
                log.warning("%s: a claim is not renewed: %s", kept.id, failure.message)

    async def release(self, kept: KeptStream) -> None:
        """Let any other process go on with it."""
        await self._write(lambda at: streams.release(at, kept.tenant, kept.id, self.owner))

    async def forget(self, kept: KeptStream) -> None:
        """Forget one that is given up."""
        await self._write(lambda at: streams.forget(at, kept.tenant, kept.id, self.owner))

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await (await self._storage.open()).database.write(work)
