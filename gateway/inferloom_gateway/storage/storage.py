"""Where a gateway's store is, if it has one; it is opened when it is first needed."""

import asyncio
import logging
import os
import sqlite3
import time
from pathlib import Path

from platformdirs import user_data_path

from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.storage.failures import FailureLog, in_words, unavailable
from inferloom_gateway.storage.migrations import NewerSchemaError
from inferloom_gateway.storage.store import DATABASE, SWEEP_S, Store
from inferloom_mesh.errors import InferloomError, Reason

log = logging.getLogger(__name__)


class Storage:
    """The store that a gateway's settings name, or none (``--no-store``)."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self.folder = settings.store or user_data_path("inferloom") / "store"
        self.on = not settings.no_store
        """Whether there is a store at all."""
        self.woken = asyncio.Event()
        """Set when there may be something new to do for batches."""
        self._store: Store | None = None
        self._said = FailureLog()
        self._opening: asyncio.Task[Store] | None = None
        """A task of its own: who wants the store may be cancelled, and it is open all the same."""

    @property
    def used(self) -> bool:
        """Whether something may be in it."""
        return self.on and (self._store is not None or os.path.exists(self.folder / DATABASE))  # never raises

    async def open(self) -> Store:
        """The store.

        Raises:
            InferloomError: There is none, or it cannot be used.
        """
        if not self.on:
            raise InferloomError(
                Reason.NOT_FOUND, "Not served here: this gateway keeps nothing (--no-store)."
            )
        if self._store is not None:
            return self._store
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._opened(), name="opening the store")
            self._opening.add_done_callback(_seen)
        return await asyncio.shield(self._opening)

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    async def keep_swept(self) -> None:
        """Remove what has expired, until cancelled."""
        while True:
            if self.used:
                try:
                    await (await self.open()).sweep()
                except InferloomError as failure:
                    log.warning("the store is not swept: %s", failure.message)
            await asyncio.sleep(SWEEP_S)

    async def close(self) -> None:
        """Close it, if it is open, and open it no more."""
        self.on = False
        if self._opening is not None:
            await asyncio.wait([self._opening])
        store, self._store = self._store, None
        if store is not None:
            await store.close()

    async def _opened(self) -> Store:
        try:
            self._store = await asyncio.to_thread(Store.open, Path(self.folder), self._settings)
        except (sqlite3.Error, OSError) as failure:
            raise in_words(failure, self._said) from failure
        except NewerSchemaError as failure:
            raise unavailable(failure, self._said) from failure
        return self._store


def _seen(opening: "asyncio.Task[Store]") -> None:
    """Take note of how it ended, also where nobody waits any more."""
    if not opening.cancelled():
        opening.exception()
