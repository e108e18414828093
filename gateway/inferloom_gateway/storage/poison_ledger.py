"""Which requests have ended workers, as the gateways of one store share it."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

from inferloom_gateway.calls.poison import KEPT_S, LedgerAwayError, Loss
from inferloom_gateway.calls.suspect_claims import CLAIM_S, Claim
from inferloom_gateway.storage import poison_rows, suspect_rows
from inferloom_gateway.storage.storage import Storage
from inferloom_mesh.errors import InferloomError

T = TypeVar("T")


class StoreLedger:
    """A :class:`~inferloom_gateway.calls.poison.Ledger` and
    :class:`~inferloom_gateway.calls.suspect_claims.Claims` in the store, which is made by the first loss."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def write(self, losses: Sequence[Loss]) -> None:
        """See the protocol."""
        now = self._storage.now()
        await self._write(lambda at: poison_rows.write(at, losses, now))

    async def read(self) -> Sequence[Loss]:
        """See the protocol."""
        if not self._storage.used:
            return ()
        since = self._storage.now() - KEPT_S
        return await self._read(lambda at: poison_rows.read(at, since))

    async def enter(self, claim: Claim, fresh_s: float) -> bool:
        """See the protocol."""
        now = self._storage.now()
        return await self._write(lambda at: suspect_rows.enter(at, claim, fresh_s, now))

    async def leave(self, claim: Claim) -> None:
        """See the protocol."""
        await self._write(lambda at: suspect_rows.leave(at, claim))

    async def others(self, worker: str, process: str) -> bool:
        """See the protocol."""
        if not self._storage.used:
            return False
        since = self._storage.now() - CLAIM_S
        return await self._read(lambda at: suspect_rows.others(at, worker, process, since))

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await (await self._storage.open()).database.write(work)
        except InferloomError as failure:
            raise LedgerAwayError(failure.message) from failure

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await (await self._storage.open()).database.read(work)
        except InferloomError as failure:
            raise LedgerAwayError(failure.message) from failure
