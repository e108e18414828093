"""Where the other processes of a gateway, and other gateways, ask it what it knows: one of the mesh's own
services, so with its secret and certificates, and not with API keys."""

import logging

from inferloom_gateway.access.identity import ANONYMOUS
from inferloom_gateway.contract.gateway_reads import GatewayReads
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.grpc_facade import add_service
from inferloom_gateway.picture.peers import Peers
from inferloom_gateway.picture.view import View
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.net import WILDCARDS, Address, interface_towards
from inferloom_mesh.server import Server, build_server

log = logging.getLogger(__name__)


async def open_peer_door(gateway: Gateway, view: View, peers: Peers) -> Server | None:
    """Listen, and let ``peers`` say where. None: the settings say nowhere.

    Raises:
        OSError: The address cannot be listened on.
    """
    wanted = listens_at(gateway.settings)
    if wanted is None:
        return None
    security = gateway.security
    service = GatewayReads(view)
    server = build_server(
        [service.methods[0].service],
        guard=security.guard,
        tls=security.inside(),
        audit=security.audit,
        allowed=security.allowed,
    )
    add_service(server.grpc, service, lambda metadata: ANONYMOUS)
    bound = await server.listen(wanted)
    await server.set_serving(True)
    peers.own.address = str(advertised(gateway.settings, bound))
    log.debug("other gateways ask at %s", peers.own.address)
    return server


def listens_at(settings: GatewaySettings) -> Address | None:
    """Where a process listens for others. None: nowhere."""
    wanted = settings.gateway_peer_listen
    if wanted is None:
        return None
    if "gateway_peer_listen" not in settings.model_fields_set and settings.tls is not None:
        return Address(settings.gateway_grpc_listen.host, 0)
    if wanted.port and settings.seat is not None:
        return Address(wanted.host, wanted.port + settings.seat.number)
    return wanted


def advertised(settings: GatewaySettings, bound: Address) -> Address:
    """Where others call what listens there."""
    given = settings.gateway_peer_advertise
    if given is not None:
        try:
            return Address.parse(given)
        except ValueError:
            return Address(given, bound.port)
    if bound.host in WILDCARDS:
        return Address(interface_towards(settings.registry[0]), bound.port)
    return bound
