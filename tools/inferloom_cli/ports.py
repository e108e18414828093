"""Whether the ports of the mesh are free, asked before anything is started."""

import errno
import socket

from inferloom_cli.refusal import RefusedError
from inferloom_mesh.net import Address


def require_free(address: Address, flag: str) -> None:
    """Make sure that ``address`` can be bound; port 0 always can.

    Raises:
        RefusedError: It cannot; the message names ``flag``, which moves it.
    """
    host = address.host.strip("[]")
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as failure:
        raise RefusedError(f"{host} is not a known host; choose another with --host") from failure
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
        except OSError as failure:
            if failure.errno == errno.EADDRINUSE:
                reason = f"port {address.port} is taken by another process; choose another with {flag}"
            else:
                reason = f"cannot listen on {address}: {failure.strerror}; choose another with {flag}"
            raise RefusedError(reason) from failure
