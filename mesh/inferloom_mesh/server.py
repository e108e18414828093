"""gRPC servers, built the same way in every service."""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from inferloom_mesh.audit import Audit
from inferloom_mesh.call_observer import CallObserver
from inferloom_mesh.guard import Guard
from inferloom_mesh.interceptor import StatusInterceptor
from inferloom_mesh.net import Address
from inferloom_mesh.networks import Network
from inferloom_mesh.observation_servicer import REFLECTION, HealthServicer, ReflectionServicer
from inferloom_mesh.security import ServerTls
from inferloom_mesh.slow_callers import SlowCallers

MAX_MESSAGE_BYTES = 16 * 2**20
"""Largest request or response, in bytes: 2048 vectors of 1024 numbers take 8 MiB."""

MAX_CONCURRENT_STREAMS = 4096
"""Calls that one connection may have open. Past it a client's calls wait in its own queue, so it is far
above what a worker runs at once: the worker's bounded queue is where overload is answered."""

FLOW: tuple[tuple[str, int], ...] = (
    ("grpc.http2.lookahead_bytes", 2**18),
    # By default the window follows an estimate of the connection, which costs pings between messages and lets
    # a stream that nobody reads hold megabytes.
    ("grpc.http2.bdp_probe", 0),
)
"""How much of a stream may be under way, the same for both of its ends."""

OPTIONS: tuple[tuple[str, int], ...] = (
    *FLOW,
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_concurrent_streams", MAX_CONCURRENT_STREAMS),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A client that vanished without closing its connection is noticed after 25 s of silence; its calls are
    # then cancelled, and what they held is free.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),  # what grpc goes by; without it, a minute
    ("grpc.http2.max_pings_without_data", 0),
)


@dataclass(slots=True)
class Server:
    """A gRPC server with health and reflection, and the health of what it serves."""

    grpc: grpc.aio.Server
    health: HealthServicer
    reflection: ReflectionServicer
    tls: ServerTls | None = None
    slow: SlowCallers | None = None
    """Ends streams that their callers do not read, if somebody does."""

    async def listen(self, address: Address) -> Address:
        """Bind and start; return the address with the port that the system chose for port 0.

        Raises:
            OSError: The address cannot be bound.
        """
        try:
            if self.tls is None:
                port = self.grpc.add_insecure_port(str(address))
            else:
                port = self.grpc.add_secure_port(str(address), self.tls.credentials())
        except RuntimeError as failure:
            raise OSError(f"cannot listen on {address}: is another process using it?") from failure
        await self.grpc.start()
        return Address(address.host, port)

    def also_listen(self, address: Address, tls: ServerTls) -> Address:
        """Bind another address, before :meth:`listen`, where connections are made as ``tls`` says.

        Raises:
            OSError: The address cannot be bound.
        """
        try:
            port = self.grpc.add_secure_port(str(address), tls.credentials())
        except RuntimeError as failure:
            raise OSError(f"cannot listen on {address}: is another process using it?") from failure
        return Address(address.host, port)

    async def set_serving(self, serving: bool) -> None:
        """Set the health of the server as a whole and of each service."""
        self.health.set_serving(serving)

    async def stop(self, grace: float) -> None:
        """Say NOT_SERVING, stop accepting, wait up to ``grace`` seconds for running calls, then end them.

        Streams that only watch (health, reflection) are ended at once, so they are not waited for.
        """
        self.health.close()
        self.reflection.close()
        await self.grpc.stop(grace)


def build_server(
    services: Sequence[str],
    *,
    shared: bool = False,
    observers: Sequence[CallObserver] = (),
    guard: Guard | None = None,
    tls: ServerTls | None = None,
    audit: Audit | None = None,
    allowed: Sequence[Network] = (),
    slow_reader_s: float | None = None,
) -> Server:
    """Make a server that will serve ``services`` (full names), not serving until told to.

    The caller adds its servicers to ``.grpc`` before it listens. With ``shared`` it may listen where other
    processes of the same service do; otherwise a second one on the same port fails. ``observers`` are told of
    every call that has one request. ``guard`` says who may call, health checks and reflection apart, which
    show nothing but the contract and are for everybody. ``tls`` says how connections are encrypted, if they
    are. ``audit`` is told of whom the guard refuses. ``allowed`` are the networks that callers must be in.
    A stream of which nothing is taken for ``slow_reader_s`` is ended; None: that may take any time.
    """
    options = (*OPTIONS, ("grpc.so_reuseport", int(shared)))
    certified = tls is not None and tls.asks
    slow = None if slow_reader_s is None else SlowCallers(slow_reader_s)
    asking = StatusInterceptor(observers, guard, audit, allowed, certified=certified, slow=slow)
    server = grpc.aio.server(interceptors=[asking], options=options)
    checker = HealthServicer(services)
    health_pb2_grpc.add_HealthServicer_to_server(checker, server)
    mirror = ReflectionServicer((*services, health.SERVICE_NAME, REFLECTION, reflection.SERVICE_NAME))
    mirror.add_to(server)
    return Server(server, checker, mirror, tls, slow)
