"""Where a command asks gateways what they know, and as whom."""

from contextlib import suppress
from typing import NamedTuple

import grpc

from inferloom.v1.registry_pb2 import ListGatewaysRequest
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_cli.calls import opened
from inferloom_cli.client_settings import ClientSettings
from inferloom_cli.credentials import Credentials, of_caller, of_peer
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role

_LOOK_S = 2.0
"""Seconds that a registry gets to say where gateways are."""


class Door(NamedTuple):
    """An address, what is shown there, and what must answer; None: whoever has the host's certificate."""

    address: Address
    shown: Credentials
    of: Role | None = None


async def door_of(settings: ClientSettings, api_key: str | None) -> Door:
    """Where to ask: a gateway's gRPC port, where a key or the mesh's secret opens it.

    An operator who has a certificate and neither of these is let in where gateways ask each other. The
    registries say where that is, unless he has named a gateway.

    Raises:
        RefusedError: A file that is to hold the secret or a certificate cannot be used.
    """
    shown = of_caller(settings, api_key)
    if not shown.metadata and settings.tls is not None and "gateway" not in settings.model_fields_set:
        peer = of_peer(settings)
        for registry in settings.registry:
            async with opened("registry", registry, peer) as channel:
                asked = ListGatewaysRequest()
                try:
                    listed = await RegistryServiceStub(channel).ListGateways(asked, timeout=_LOOK_S)
                except grpc.aio.AioRpcError:
                    continue  # what is wrong with the mesh is told by who is asked in the end
            for gateway in listed.gateways:
                with suppress(ValueError):  # another may have an address that can be called
                    return Door(Address.parse(gateway.address), peer, Role.GATEWAY)
    return Door(settings.gateway, shown)
