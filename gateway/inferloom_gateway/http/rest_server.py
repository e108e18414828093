"""The server of the REST façade: uvicorn with the gateway's own connections."""

import asyncio
import contextlib
import logging
import math
import socket
from collections import deque
from collections.abc import Iterator
from typing import ClassVar

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http.connection.protocol import Connection
from inferloom_gateway.http.connection.refusing import Refused, Refusing
from inferloom_gateway.http.descriptors import bounded
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.listening import bind
from inferloom_mesh.security import ServerTls

log = logging.getLogger(__name__)

BACKLOG = 2048
KEEP_ALIVE_S = 75

SEND_BUFFER_BYTES = 2**17
"""What the kernel keeps of a response whose client does not read; by itself it takes several megabytes."""


def listener_of(settings: GatewaySettings) -> socket.socket:
    """Where it will listen.

    Raises:
        OSError: The address cannot be listened on.
    """
    listener = bind(settings.gateway_listen, shared=settings.seat is not None)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # connections inherit it
    return listener


class RestServer(uvicorn.Server):
    """uvicorn without its signal handlers: signals belong to the process."""

    def __init__(self, app: ASGIApp, gateway: Gateway, refused: Refused, tls: ServerTls | None) -> None:
        settings = gateway.settings

        class Bounded(Connection):
            held: ClassVar[deque[Refusing]] = deque()
            gathering = gateway.gathering
            leaving = gateway.leaving
            max_connections = bounded(settings.max_connections)
            arrival_limit_s = settings.body_limit_s
            on_refused = staticmethod(refused)

        super().__init__(
            uvicorn.Config(
                _cut_quietly(app),
                http=Bounded,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nobody asks who the client is
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=math.ceil(settings.drain_limit_s),
                backlog=BACKLOG,
            )
        )
        self.config.load()
        self.config.ssl = None if tls is None else tls.context()
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self.listening.set()


def _cut_quietly(app: ASGIApp) -> ASGIApp:
    """End a request that outlasts the drain without a traceback: it was cut on purpose."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            log.warning("cut off %s %s at the end of the drain", scope["method"], scope["path"])

    return run
