"""What the tests of the command line share."""

from collections.abc import AsyncIterator

import pytest

from inferloom.v1.inference_pb2_grpc import add_InferenceServiceServicer_to_server
from inferloom.v1.registry_pb2_grpc import add_RegistryServiceServicer_to_server
from inferloom_mesh.net import Address
from inferloom_mesh.server import build_server
from tests.cli.fake_mesh import FakeGateway, FakeMesh, FakeRegistry


@pytest.fixture
async def mesh() -> AsyncIterator[FakeMesh]:
    """A fake gateway and registry that listen."""
    server = build_server(["inferloom.v1.InferenceService", "inferloom.v1.RegistryService"])
    gateway, registry = FakeGateway(), FakeRegistry()
    add_InferenceServiceServicer_to_server(gateway, server.grpc)
    add_RegistryServiceServicer_to_server(registry, server.grpc)
    address = await server.listen(Address("127.0.0.1", 0))
    await server.set_serving(True)
    yield FakeMesh(address, gateway, registry)
    await server.stop(0)
