"""Sockets to listen with, bound so that their port is known and belongs to nobody else."""

import socket

from inferloom_mesh.net import Address


def bind(address: Address, *, shared: bool = False) -> socket.socket:
    """A socket that is bound to ``address``; with ``shared``, beside other shared ones of this user.

    Raises:
        OSError: The address cannot be bound.
    """
    host = None if address.host == "*" else address.host.strip("[]")
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        if address.port:  # of two that bind to any port with it, the second to listen may find it taken
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if shared:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(target)
        except OSError:
            listener.close()
            raise
    except OSError as failure:
        raise OSError(f"cannot listen on {address}: {failure.strerror or failure}") from failure
    return listener


def reserve(address: Address) -> socket.socket:
    """A socket that takes ``address`` for shared ones to come. It does not listen, so it is sent nothing.

    Raises:
        OSError: The address cannot be bound, because another service listens there, say.
    """
    holder = bind(address)
    # Only now: a port that other processes share already was not to be had.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return holder
