"""Ends connections whose clients take nothing of what there is for them."""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

log = logging.getLogger(__name__)

LOOKS = 6
"""So many looks in the time that a client may take nothing."""

_TCP_INFO = getattr(socket, "TCP_INFO", None)  # Linux's
_ACKED = struct.Struct("@120xQ")
"""Where Linux's ``struct tcp_info`` has ``tcpi_bytes_acked``."""


class SlowReaders:
    """Looks at connections that have something to send, at intervals.

    What a client has acknowledged is its progress. A response that waits for its client holds one buffer of
    the transport's, one of the kernel's, and what its worker may send ahead; all are bounded, and so is now
    for how long.

    Args:
        connections: Those that there are now: each has a ``transport``.
        patience_s: How long a client may take nothing.
        clock: Monotonic seconds.
    """

    def __init__(
        self, connections: Callable[[], Iterable[Any]], patience_s: float, clock: Callable[[], float]
    ) -> None:
        self.cut = 0
        """Connections that were ended so far."""
        self._connections = connections
        self._patience_s = patience_s
        self._clock = clock
        self._seen: dict[Any, tuple[int, float]] = {}
        """What each had acknowledged, and since when."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(self._patience_s / LOOKS)
            self.look()

    def look(self) -> None:
        """End those that have been still for too long."""
        now, seen = self._clock(), self._seen
        self._seen = {}
        for connection in list(self._connections()):
            transport = connection.transport
            waiting = transport.get_write_buffer_size()
            if not waiting:
                continue
            progress = _progress(transport, waiting)
            before = seen.get(connection)
            since = now if before is None or before[0] != progress else before[1]
            if now - since < self._patience_s:
                self._seen[connection] = progress, since
                continue
            self.cut += 1
            peer = transport.get_extra_info("peername")
            client = f"{peer[0]}:{peer[1]}" if peer else "a client"
            log.warning("cut off %s: it has taken nothing for %g s", client, now - since)
            transport.abort()


def _progress(transport: asyncio.Transport, waiting: int) -> int:
    """What a client has acknowledged, in bytes; elsewhere than on Linux, less what waits for it."""
    if _TCP_INFO is not None:
        with suppress(OSError, AttributeError, struct.error):
            info = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _ACKED.size)
            acked: int = _ACKED.unpack(info)[0]
            return acked or -waiting  # a sandbox's system may not fill it in
    return -waiting
