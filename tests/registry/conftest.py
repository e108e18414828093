import pytest

from inferloom_registry.lease_table import LeaseTable
from tests.registry.clock import FakeClock
from tests.registry.samples import TTL


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def table(clock: FakeClock) -> LeaseTable:
    """An empty lease table that has settled."""
    table = LeaseTable(clock, settle=TTL)
    clock.advance(TTL)
    table.tick()
    return table
