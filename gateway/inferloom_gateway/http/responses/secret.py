"""The secret that reasoning is encrypted with."""

import sqlite3

from pydantic import SecretStr

from inferloom_gateway.http.responses.seal import Seal, new_secret
from inferloom_gateway.storage.storage import Storage

_KEY = "reasoning_secret"


class SecretKeeper:
    """Finds the secret when it is first needed: that of the settings, else the store's own, else a new one.

    Args:
        storage: Gateways that share a store share its secret.
        given: That of the settings.
    """

    def __init__(self, storage: Storage, given: SecretStr | None) -> None:
        self._storage = storage
        self._seal = None if given is None else Seal(given.get_secret_value())

    async def seal(self) -> Seal:
        """What encrypts. Raises InferloomError if the store cannot be used."""
        if self._seal is None:
            self._seal = Seal(await self._kept() if self._storage.on else new_secret())
        return self._seal

    async def _kept(self) -> str:
        def work(connection: sqlite3.Connection) -> str:
            connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (_KEY, new_secret()))
            found = connection.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchone()
            return str(found[0])

        return await (await self._storage.open()).database.write(work)
