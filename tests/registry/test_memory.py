from itertools import count

import pytest

from inferloom_registry.stores.memory import MemoryStore, Shelf
from inferloom_registry.stores.protocol import Store
from tests.registry.store_conformance import OpenStore, Recorder, StoreConformance


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def open_store(self) -> OpenStore:
        shelf = Shelf()

        names = (f"registry-{number}" for number in count())

        async def open_store(recorder: Recorder) -> Store:
            store = MemoryStore(next(names), shelf)
            await store.open(recorder)
            return store

        return open_store
