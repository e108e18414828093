"""Where a worker listens, and where it says that it is."""

import socket
from collections.abc import Iterator

from inferloom_mesh.net import WILDCARDS, Address, interface_towards
from inferloom_mesh.server import Server

PORTS = 100
"""Ports from the default one that are tried."""


async def listen(server: Server, wanted: Address | None, default: Address) -> Address:
    """Listen on ``wanted``; without it on ``default`` or the next port that is free.

    Raises:
        OSError: The address, or every port that was tried, is in use.
    """
    if wanted is not None:
        return await server.listen(wanted)
    for address in _free(default):
        try:
            return await server.listen(address)
        except OSError:
            continue  # somebody was faster
    raise OSError(f"no port from {default} on is free: {PORTS} were tried")


def _free(first: Address) -> Iterator[Address]:
    # Asked first, because gRPC writes to the log for each port that it cannot have.
    for port in range(first.port, first.port + PORTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((first.host, port))
            except OSError:
                continue
        yield Address(first.host, port)


def advertised(bound: Address, given: str | None, registry: Address | None) -> Address:
    """The address to register: ``given`` (a host, or host:port), else the one that is listened on.

    For a worker that listens on every interface it is the one that leads to the registry.

    Raises:
        ValueError: ``given`` is neither.
    """
    if given is not None:
        try:
            return Address.parse(given)
        except ValueError:
            return Address.parse(f"{given}:{bound.port}")
    if bound.host in WILDCARDS:
        return Address(interface_towards(registry), bound.port)
    return bound


def advertised_link(
    bound: Address | None, given: str | None, grpc: Address, grpc_shown: Address
) -> Address | None:
    """Where gateways are told that the link's own port is. None: nowhere.

    It has the host of the address that is registered for gRPC. Where that has another port than the worker
    listens on, something stands between, which knows nothing of the link's port: it is told only if ``given``
    (a host, or host:port) says where it is.

    Raises:
        ValueError: ``given`` is neither.
    """
    if bound is None:
        return None
    if given is not None:
        return advertised(bound, given, None)
    if grpc_shown.port != grpc.port:
        return None
    return Address(grpc_shown.host, bound.port)
