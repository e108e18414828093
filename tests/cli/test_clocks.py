"""``inferloom doctor`` tells clocks apart that are to agree."""

from __future__ import annotations  # grpc's generic types cannot be subscripted at run time

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from inferloom.v1 import gateway_pb2, gateway_pb2_grpc, registry_pb2
from inferloom_cli.client_settings import ClientSettings
from inferloom_cli.credentials import NOTHING
from inferloom_cli.doctor import doctor
from inferloom_cli.doctor.clocks import Ahead, judge_clocks, read_clocks
from inferloom_cli.doctor.finding import Finding, Level
from inferloom_gateway.picture.peers import this_machine
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.net import Address, Addresses
from inferloom_mesh.server import build_server
from tests.cli.fake_mesh import UNCALLED, FakeMesh

NOBODY = Address("127.0.0.1", 1)


class FakePicture(gateway_pb2_grpc.GatewayServiceServicer):
    """Tells how the mesh looks by a clock that is so many seconds ahead."""

    def __init__(self, ahead: float) -> None:
        self._ahead = ahead

    async def GetMesh(self, request: Any, context: Any) -> gateway_pb2.GetMeshResponse:
        told = gateway_pb2.GetMeshResponse()
        told.mesh.taken_at.FromNanoseconds(round((time.time() + self._ahead) * 1e9))
        return told

    WatchMesh = ListRequests = GetRequest = UNCALLED


@asynccontextmanager
async def gateway(name: str, ahead: float) -> AsyncIterator[registry_pb2.GatewayInstance]:
    """One whose clock is so many seconds ahead, as a registry lists it."""
    server = build_server(["inferloom.v1.GatewayService"])
    gateway_pb2_grpc.add_GatewayServiceServicer_to_server(FakePicture(ahead), server.grpc)
    address = await server.listen(Address("127.0.0.1", 0))
    yield registry_pb2.GatewayInstance(instance=name, name=name, address=str(address), machine=this_machine())
    await server.stop(0)


async def found(mesh: FakeMesh, **named: Any) -> list[Finding]:
    """What doctor finds of clocks; ``named`` are the settings that somebody has set."""
    settings = ClientSettings.model_construct(set(named), registry=Addresses([mesh.address]), **named)
    away = GatewaySettings.model_construct(set(), gateway_listen=NOBODY)
    everything = await asyncio.to_thread(lambda: list(doctor.of_mesh(settings, away, NOTHING)))
    return [each for each in everything if each.area == "clocks"]


@pytest.mark.parametrize(
    ("shifts", "words"),
    [
        ({"a": 0, "b": 0}, None),
        ({"a": 0, "b": 0.5}, None),
        ({"a": -900, "b": 900}, "clock of b at * ahead of that of a at *: of gateways that share a store"),
        ({"a": 900, "b": 900}, "ahead of that of this machine: keys, files and certificates end by clocks"),
        ({"a": -900}, "clock of this machine is at least *ahead of that of a at"),
    ],
)
async def test_clocks_that_are_apart_are_told(
    mesh: FakeMesh, shifts: Mapping[str, float], words: str | None
) -> None:
    """Of gateways, by their names, and of all of them and who looks."""
    async with AsyncExitStack() as stack:
        for name, ahead in shifts.items():
            mesh.registry.gateways.append(await stack.enter_async_context(gateway(name, ahead)))
        [only] = await found(mesh)
    assert only.level is (Level.OK if words is None else Level.WARNING)
    for part in (words or "agree").split("*"):
        assert part in only.what
    assert ("NTP" in only.fix) is (words is not None)


async def test_a_gateway_that_was_named_is_read_as_well(mesh: FakeMesh) -> None:
    """Which no registry knows; where none tells its clock, nothing is said."""
    async with gateway("a", 900) as there:
        [only] = await found(mesh, gateway=Address.parse(there.address))
        assert f"the clock of the gateway at {there.address} is at least" in only.what
    assert await found(mesh) == []


async def test_a_loopback_address_of_another_machine_leads_elsewhere(mesh: FakeMesh) -> None:
    """And what it leads to from here is not asked in its name."""
    async with gateway("a", 900) as there:
        there.machine = "another"
        mesh.registry.gateways.append(there)
        assert await read_clocks([mesh.address], None, NOTHING) == {}


def test_an_answer_that_took_long_proves_nothing() -> None:
    """A clock may be anywhere between what it was before and after."""
    [only] = judge_clocks({"a": Ahead(-5.0, 1.0), "b": Ahead(0.5, 8.0)})
    assert only.level is Level.OK
