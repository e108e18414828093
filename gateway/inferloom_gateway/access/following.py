"""Keeps a keyring like its store's, and what keys use on its way there."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from inferloom_gateway.access.keyring import Keyring
from inferloom_gateway.access.stores.protocol import KeyStore, StoreError
from inferloom_gateway.access.usage import UsageMeter
from inferloom_mesh.errors import InferloomError, Reason

T = TypeVar("T")

POLL_S = 1.0
"""How often a change of the store is looked for."""

STALE_S = 5.0
"""How old what was read of the store may be. A revocation holds everywhere within it: who cannot read the
store any more lets nobody in."""

FLUSH_S = 5.0
"""How often usage is written."""

log = logging.getLogger(__name__)


class Following:
    """Reads a store again and again, on a thread of its own.

    Args:
        store: Where the keys are.
        usage: What is written there.
        clock: Monotonic seconds.
        changed: Called when there is another keyring.
    """

    def __init__(
        self,
        store: KeyStore,
        usage: UsageMeter,
        clock: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._usage = usage
        self._clock = clock
        self._changed = changed
        self._keyring = Keyring()
        self._revision = ""
        self._read_at = float("-inf")
        self._away = False
        self._thread = ThreadPoolExecutor(1, "keys")

    @property
    def keyring(self) -> Keyring:
        """The keys and policies.

        Raises:
            InferloomError: What is known of them is too old.
        """
        if self._clock() - self._read_at > STALE_S:
            message = "API keys cannot be checked now: their store does not answer."
            raise InferloomError(Reason.SERVER_OVERLOADED, message, retry_after=1.0)
        return self._keyring

    async def use(self, work: Callable[[KeyStore], T]) -> T:
        """Do something with the store, on its thread, after what was used has been written; what it changes
        holds here at once.

        Raises:
            StoreError: The store cannot be used.
        """
        await self._write()
        done = await asyncio.get_running_loop().run_in_executor(self._thread, work, self._store)
        await self._read()
        return done

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the store until the block ends, and write then what was used."""
        await self._read()
        tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._flush())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._write()
            self._thread.submit(self._store.close)
            self._thread.shutdown()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            await self._read()

    async def _read(self) -> None:
        loop, began = asyncio.get_running_loop(), self._clock()
        try:
            if await loop.run_in_executor(self._thread, self._store.revision) != self._revision:
                revision, keyring = await loop.run_in_executor(self._thread, self._store.read)
                self._revision, self._keyring = revision, keyring
                self._changed()
                log.info("%d API keys", len(keyring.keys))
        except StoreError as failure:
            if not self._away:
                log.warning("%s", failure)
            self._away = True
            return
        if self._away:
            log.info("the key store answers again")
        self._away, self._read_at = False, began  # what was read is no older than that

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            await self._write()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while (flush := self._usage.take()) is not None:
            if not await loop.run_in_executor(self._thread, self._usage.write, flush):
                return
