"""Opens connections to the link's port of workers."""

import asyncio
import socket
from collections.abc import Callable

from inferloom.v1 import link_pb2
from inferloom_gateway.calls.attach.tcp_stream import TcpStream
from inferloom_mesh.client_tls import ClientTls
from inferloom_mesh.frames import PREAMBLE
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role
from inferloom_mesh.security import Security

DIAL_S = 3.0
"""How long a worker may take to be reached, for TLS, and then to let a gateway in. Nobody waits for it
meanwhile."""

MOST_HANDSHAKES = 64
"""Handshakes of TLS at once: they are work of the event loop, and a gateway that starts may have hundreds of
workers. Nothing else waits for a turn, or workers that are not to be reached would hold them all."""

_GOODBYE_S = 1.0
"""How long TLS may take to say that it ends."""


class Dialer:
    """Makes the connections of all lines.

    Args:
        security: What the gateway shows a worker, and asks of it.
    """

    def __init__(self, security: Security) -> None:
        self._security = security
        self._turns = asyncio.Semaphore(MOST_HANDSHAKES)
        self._tls = None if security.tls is None else ClientTls(security.tls, PREAMBLE.decode())

    @property
    def hello(self) -> bytes:
        """What is said first on a connection that is made now."""
        shown = "".join(value for _, value in self._security.metadata)
        return link_pb2.LinkHello(mesh_secret=shown).SerializeToString()

    async def dial(self, address: str, on_open: Callable[[TcpStream], object]) -> None:
        """Connect to a worker's link; ``on_open`` is given the stream in the moment in which the worker has
        let it in, and starts it.

        Raises:
            OSError: It cannot be reached in time, or it does not let this gateway in; the message says why.
        """
        host, port = Address.parse(address)
        stream = TcpStream(address, self.hello, on_open)
        try:
            async with asyncio.timeout(DIAL_S):
                reached = await _reached(host.strip("[]"), port)
            if self._tls is None:
                await asyncio.get_running_loop().create_connection(lambda: stream.connection, sock=reached)
            else:
                await self._encrypt(self._tls, stream, reached)
            async with asyncio.timeout(DIAL_S):
                await stream.met
        except TimeoutError:
            if not stream.connection.open:  # or it was let in in the same moment
                raise OSError(f"it did not answer within {DIAL_S:g} s") from None
        finally:
            if not stream.connection.open:
                stream.connection.abort(None)

    async def _encrypt(self, tls: ClientTls, stream: TcpStream, reached: socket.socket) -> None:
        try:
            await self._turns.acquire()
        except BaseException:  # cancelled
            reached.close()
            raise
        try:
            async with asyncio.timeout(DIAL_S):
                await asyncio.get_running_loop().create_connection(
                    lambda: stream.connection,
                    sock=reached,
                    ssl=tls.context(),
                    server_hostname=Role.WORKER.server_name,
                    ssl_handshake_timeout=DIAL_S,
                    ssl_shutdown_timeout=_GOODBYE_S,
                )
        finally:
            self._turns.release()


async def _reached(host: str, port: int) -> socket.socket:
    """A connection to the first of a host's addresses that takes one.

    Raises:
        OSError: None does.
    """
    loop = asyncio.get_running_loop()
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            made = socket.socket(family, kind, protocol)
        except OSError as failed:  # no more descriptors, or no IPv6
            failure = failed
            continue
        try:
            made.setblocking(False)
            await loop.sock_connect(made, address)
        except OSError as failed:
            made.close()
            failure = failed
        except BaseException:  # cancelled
            made.close()
            raise
        else:
            return made
    raise failure
