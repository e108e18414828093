"""How far the clocks of gateways are apart, as far as they let themselves be asked."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import grpc

from inferloom.v1 import registry_pb2
from inferloom.v1.gateway_pb2 import GetMeshRequest
from inferloom.v1.gateway_pb2_grpc import GatewayServiceStub
from inferloom.v1.registry_pb2 import ListGatewaysRequest
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_cli.calls import opened
from inferloom_cli.credentials import Credentials
from inferloom_cli.doctor.finding import Finding, Level
from inferloom_gateway.picture.peers import this_machine
from inferloom_mesh.net import Address, is_loopback
from inferloom_mesh.roles import Role

MOST_APART_S = 2.0
"""How far apart clocks may be of gateways that share a store (docs/operations.md, "Clocks")."""

MOST_APART_HERE_S = 30.0
"""How far this machine's may be from theirs: nothing that it does is by the second."""

MOST_ASKED = 64
"""Gateway processes that are asked."""

_PATIENCE_S = 3.0

_OLD_S = 0.25
"""How old the picture may be that a process answers with: half of what it lets pass between two looks."""

HERE = "this machine"


class Ahead(NamedTuple):
    """How many seconds a clock is ahead of this machine's: between these, for an answer takes time."""

    least: float
    most: float


async def read_clocks(
    registries: Sequence[Address],
    named: Address | None,
    shown: Credentials,
    clock: Callable[[], float] = time.time,
) -> Mapping[str, Ahead]:
    """The clocks of the gateways that registries know, and of the one that was ``named`` by its gRPC port; by
    what each is called. Who does not answer, or not to who asks, is not among them.

    Args:
        registries: Those that answer.
        named: None: nobody named one.
        shown: What says who asks.
        clock: This machine's: seconds since 1970.
    """
    found: dict[str, registry_pb2.GatewayInstance] = {}
    for listed in await asyncio.gather(*(_gateways(each, shown) for each in registries)):
        found |= {each.instance: each for each in listed if _leads_there(each)}
    doors = {f"{each.name} at {each.address}": each.address for each in list(found.values())[:MOST_ASKED]}
    asked = [_read(address, shown, Role.GATEWAY, clock) for address in doors.values()]
    names = list(doors)
    if named is not None:
        names.append(f"the gateway at {named}")
        asked.append(_read(str(named), shown, None, clock))
    answers = await asyncio.gather(*asked)
    return {name: ahead for name, ahead in zip(names, answers, strict=True) if ahead is not None}


def judge_clocks(read: Mapping[str, Ahead]) -> Iterator[Finding]:
    """What is to be said of gateways' clocks and this machine's; nothing where none was read."""
    if not read:
        return
    why = "of gateways that share a store, one takes what another makes for abandoned"
    first, last, apart = _extremes(read)
    most = MOST_APART_S
    if apart <= most:
        most = MOST_APART_HERE_S
        why = "keys, files and certificates end by clocks"
        first, last, apart = _extremes({**read, HERE: Ahead(0.0, 0.0)})
    if apart > most:
        what = f"the clock of {last} is at least {apart:.1f} s ahead of that of {first}: {why}"
        mend = "let the machines follow one time (NTP: chrony, systemd-timesyncd)"
        yield Finding("clocks", Level.WARNING, what, mend)
        return
    count = len(read)
    those = "a gateway's clock agrees" if count == 1 else f"the clocks of {count} gateway processes agree"
    yield Finding("clocks", Level.OK, f"{those} with that of {HERE}")


async def _gateways(registry: Address, shown: Credentials) -> Sequence[registry_pb2.GatewayInstance]:
    async with opened("registry", registry, shown) as channel:
        try:
            call = RegistryServiceStub(channel).ListGateways(ListGatewaysRequest(), timeout=_PATIENCE_S)
            return (await call).gateways
        except grpc.aio.AioRpcError:
            return ()


def _leads_there(instance: registry_pb2.GatewayInstance) -> bool:
    """Whether its address is its own, seen from here, and not another process's of this machine."""
    return instance.machine == this_machine() or not is_loopback(instance.address.rpartition(":")[0])


async def _read(
    address: str, shown: Credentials, of: Role | None, clock: Callable[[], float]
) -> Ahead | None:
    try:
        place = Address.parse(address)
    except ValueError:
        return None
    async with opened("gateway", place, shown, of) as channel:
        began = clock()
        try:
            stub = GatewayServiceStub(channel)
            told = await stub.GetMesh(GetMeshRequest(only_here=True), timeout=_PATIENCE_S)
        except grpc.aio.AioRpcError:
            return None
        ended = clock()
    taken = told.mesh.taken_at.ToNanoseconds() / 1e9
    return Ahead(taken - ended, taken + _OLD_S - began)


def _extremes(read: Mapping[str, Ahead]) -> tuple[str, str, float]:
    """Whose clock is surely behind the others, whose ahead, and by how many seconds at least."""
    first = min(read, key=lambda name: read[name].most)
    last = max(read, key=lambda name: read[name].least)
    return first, last, read[last].least - read[first].most
