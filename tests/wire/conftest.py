"""Fixtures of the wire tests."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.wire.fake_worker import FakeWorker, say_hello
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh


@pytest.fixture
async def mesh() -> AsyncIterator[GatewayMesh]:
    """A gateway in front of one scripted worker."""
    async with gateway_mesh(FakeWorker()) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_mesh() -> AsyncIterator[GatewayMesh]:
    """The same for all tests of a module, which must run on the module's event loop."""
    async with gateway_mesh(FakeWorker()) as running:
        yield running


@pytest.fixture
def shared_mesh(module_mesh: GatewayMesh) -> GatewayMesh:
    """The module's mesh, its worker as new."""
    module_mesh.worker.script = say_hello
    module_mesh.worker.requests.clear()
    return module_mesh
