"""Opens a store by its place."""

from pathlib import Path

from inferloom_gateway.access.stores.protocol import KeyStore, is_redis
from inferloom_gateway.access.stores.redis import RedisStore
from inferloom_gateway.access.stores.sqlite import SqliteStore


def open_store(where: str, *, create: bool = False) -> KeyStore:
    """The store at ``where``: a file, which ``create`` makes if it is not there, or a Redis by its URL.

    Raises:
        StoreError: It cannot be used.
    """
    return RedisStore(where) if is_redis(where) else SqliteStore(Path(where).expanduser(), create=create)
