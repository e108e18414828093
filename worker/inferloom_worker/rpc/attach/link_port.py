"""The link's own door: a TCP port for gateways' connections."""

import asyncio
import logging
import socket
import ssl
import time

from inferloom_mesh.errors import InferloomError
from inferloom_mesh.frame_connection import GREETING_S
from inferloom_mesh.frames import PREAMBLE
from inferloom_mesh.listening import bind
from inferloom_mesh.net import Address
from inferloom_mesh.networks import address_of_peer, check_allowed
from inferloom_mesh.security import Security
from inferloom_worker.rpc.attach.attachments import Attachments
from inferloom_worker.rpc.attach.gateway_connection import GatewayConnection, peer_of, refused
from inferloom_worker.rpc.attach.handshakes import Handshakes
from inferloom_worker.rpc.attach.port_log import PortLog

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 512
"""Connections at once; one more is closed, and its gateway takes gRPC's Attach."""

MOST_HANDSHAKES = 64
"""Of these, how many may be in the middle of a TLS handshake. Without TLS there is none to be in."""

_GOODBYE_S = 1.0
"""How long TLS may take to say that it ends."""


class LinkPort:
    """Accepts connections.

    Args:
        attachments: Those of the worker.
        security: As that of the worker's gRPC server. Each handshake uses the files as they are then.
    """

    def __init__(self, attachments: Attachments, security: Security) -> None:
        self._attachments = attachments
        self._security = security
        self._tls = security.inside(PREAMBLE.decode())
        self._log = PortLog()
        self._handshakes = Handshakes()
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._meeting: set[asyncio.Task[None]] = set()
        self._gateways: set[GatewayConnection] = set()

    async def listen(self, address: Address) -> Address:
        """Listen; return the address with the port that the system chose for port 0.

        Raises:
            OSError: The address cannot be bound.
        """
        listener = bind(address)
        try:
            listener.setblocking(False)
            listener.listen(128)
        except OSError as failure:
            listener.close()
            raise OSError(f"cannot listen on {address}: {failure.strerror}") from failure
        self._listener = listener
        self._accepting = asyncio.create_task(self._accept(listener), name="link port")
        return Address(address.host, listener.getsockname()[1])

    async def close(self, grace_s: float) -> None:
        """Accept no more, and end what is open, after ``grace_s`` at the latest; what is ready goes."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
        for meeting in self._meeting:
            meeting.cancel()
        gateways = tuple(self._gateways)
        for gateway in gateways:
            gateway.connection.close()
        if gateways:
            ends = [asyncio.ensure_future(gateway.connection.ended()) for gateway in gateways]
            _, late = await asyncio.wait(ends, timeout=grace_s)
            for gateway in gateways:
                gateway.connection.abort(None)
            if late:
                await asyncio.wait(late, timeout=grace_s)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, name = await loop.sock_accept(listener)
                pause_s = self._take(connection, peer_of(name))
            except OSError as failure:  # no more descriptors, say
                log.warning("the link's port cannot accept a connection: %s", failure.strerror)
                await asyncio.sleep(1.0)
                continue
            except Exception:  # a bug: without this task nobody could attach here any more
                log.exception("the link's port cannot accept a connection")
                await asyncio.sleep(1.0)
                continue
            await asyncio.sleep(pause_s)  # who knocks without end does not hold up the calls

    def _take(self, connection: socket.socket, peer: str) -> float:
        """Begin to meet who comes, or close; return for how many seconds nobody else may come."""
        if not self._lets_in(peer):
            connection.close()
            return 0.0
        meeting = asyncio.create_task(self._meet(connection))
        self._meeting.add(meeting)
        meeting.add_done_callback(self._meeting.discard)
        return 0.0 if self._tls is None else self._handshakes.begin(time.monotonic())

    def _lets_in(self, peer: str) -> bool:
        """Whether a connection gets a place, before anything is spent on it."""
        try:
            check_allowed(address_of_peer(peer), self._security.allowed)
        except InferloomError as refusal:
            refused(self._security, self._log, peer, refusal)
            return False
        taken = len(self._gateways) + len(self._meeting)
        if taken >= MOST_CONNECTIONS:
            self._log.warn("the link's port has %d connections: that of %s was closed", taken, peer)
            return False
        if self._tls is not None and len(self._meeting) >= MOST_HANDSHAKES:
            self._log.warn(
                "the link's port is in %d handshakes: the connection of %s was closed",
                len(self._meeting),
                peer,
            )
            return False
        return True

    async def _meet(self, accepted: socket.socket) -> None:
        gateway = GatewayConnection(self._attachments, self._security, self._gateways.discard, self._log)
        loop = asyncio.get_running_loop()
        encrypted = self._tls is not None
        try:
            await loop.connect_accepted_socket(
                lambda: gateway.connection,
                accepted,
                ssl=None if self._tls is None else self._tls.fresh(),
                ssl_handshake_timeout=GREETING_S if encrypted else None,
                ssl_shutdown_timeout=_GOODBYE_S if encrypted else None,
            )
        except (OSError, ssl.SSLError) as failure:  # a handshake that takes too long too
            self._log.warn(
                "a connection to the link's port failed: %s", str(failure) or type(failure).__name__
            )
            return
        if not gateway.connection.over:
            self._gateways.add(gateway)
