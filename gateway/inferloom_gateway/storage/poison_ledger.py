"""Which requests have ended workers, as the gateways of one store share it."""

from collections.abc import Sequence

from inferloom_gateway.calls.poison import KEPT_S, LedgerAwayError, Loss
from inferloom_gateway.storage import poison_rows
from inferloom_gateway.storage.storage import Storage
from inferloom_mesh.errors import InferloomError


class StoreLedger:
    """A :class:`~inferloom_gateway.calls.poison.Ledger` in the store. It is made by the first loss."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def write(self, losses: Sequence[Loss]) -> None:
        """See the protocol."""
        now = self._storage.now()
        try:
            await (await self._storage.open()).database.write(lambda at: poison_rows.write(at, losses, now))
        except InferloomError as failure:
            raise LedgerAwayError(failure.message) from failure

    async def read(self) -> Sequence[Loss]:
        """See the protocol."""
        if not self._storage.used:
            return ()
        since = self._storage.now() - KEPT_S
        try:
            return await (await self._storage.open()).database.read(lambda at: poison_rows.read(at, since))
        except InferloomError as failure:
            raise LedgerAwayError(failure.message) from failure
