"""What the system knows of a TCP connection."""

import socket
import sys
from typing import Any

_ACKNOWLEDGED = slice(120, 128)
"""Where ``tcpi_bytes_acked`` is in Linux's ``struct tcp_info``, since 4.1."""


def acknowledged(connection: Any) -> int | None:
    """Bytes that the other end's system has taken in. It takes no more once its program has not read for a
    while.

    Args:
        connection: A socket, or what an event loop shows of it; None: there is none.

    Returns:
        A number that only grows. None: nobody knows.
    """
    if sys.platform != "linux" or connection is None:
        return None
    try:
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.stop)
    except OSError:  # it is no TCP, or it is closed
        return None
    return int.from_bytes(told[_ACKNOWLEDGED], sys.byteorder) if len(told) == _ACKNOWLEDGED.stop else None
