"""The gateway as a process: both façades, from start to drained stop."""

import asyncio
import contextlib
import logging
import math
import socket
from collections import deque
from collections.abc import Callable, Iterator
from typing import ClassVar

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

import inferloom_mesh
from inferloom_gateway.batching.line_call import asker
from inferloom_gateway.batching.runner import Runner
from inferloom_gateway.console import routes as console_routes
from inferloom_gateway.console.console import Console
from inferloom_gateway.contract import resumable
from inferloom_gateway.contract.gateway_reads import GatewayReads
from inferloom_gateway.contract.health import Health
from inferloom_gateway.contract.inference import Inference
from inferloom_gateway.contract.registry import RegistryReads
from inferloom_gateway.contract.service import Service
from inferloom_gateway.door_tls import door_tls
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.grpc_facade import add_service
from inferloom_gateway.http.app import Extra, create_app
from inferloom_gateway.http.connection.protocol import Connection
from inferloom_gateway.http.connection.refusing import Refused, Refusing
from inferloom_gateway.http.descriptors import bounded
from inferloom_gateway.http.intake import Intake
from inferloom_gateway.http.responses.desk import Desk
from inferloom_gateway.http.slow_readers import SlowReaders
from inferloom_gateway.http.streams import kept as rest_streams
from inferloom_gateway.observe.watch import Watch
from inferloom_gateway.peer_door import open_peer_door
from inferloom_gateway.picture.peers import Peers
from inferloom_gateway.picture.picture import Picture
from inferloom_gateway.picture.view import View
from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.storage.poison_sharing import ledger_of, share
from inferloom_gateway.streams.desk import StreamDesk
from inferloom_mesh.listening import bind
from inferloom_mesh.net import Address
from inferloom_mesh.security import ServerTls
from inferloom_mesh.server import Server, build_server

log = logging.getLogger(__name__)

BACKLOG = 2048
KEEP_ALIVE_S = 75

READINESS_S = 0.1
"""How late gRPC's health may follow readiness."""

SEND_BUFFER_BYTES = 2**17
"""What the kernel keeps of a response whose client does not read; by itself it takes several megabytes."""


async def serve(
    settings: GatewaySettings, stop: asyncio.Event, on_ready: Callable[[Address, Address], None]
) -> None:
    """Run the gateway until ``stop`` is set, then drain it.

    Both façades listen once the first set of workers has arrived, or the registry could not be reached within
    a second, so that a gateway that starts again refuses no model that it will know a moment later.
    ``on_ready`` is then told where.

    Raises:
        OSError: An address cannot be listened on.
    """
    tls = door_tls(settings)
    gateway = Gateway.build(settings)
    shared = settings.gateway_shares_ports
    with contextlib.closing(bind(settings.gateway_listen, shared=shared)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # connections inherit it
        intake = Intake(settings.body_memory_bytes)
        watch = Watch(gateway, intake)
        picture = Picture(gateway)
        peers = Peers(settings.registry, gateway.security, gateway.clock)
        view = View(picture, peers)
        registry = RegistryReads(gateway)
        streams = StreamDesk(gateway, {**rest_streams.RESTORE, **resumable.RESTORE})
        services: list[Service] = [Inference(gateway, streams)]
        if settings.registry_calls:
            services.append(registry)
        on_grpc = list(services)
        if settings.keys is not None or not settings.behind_proxy:  # behind one, nobody says who operates
            on_grpc.append(GatewayReads(view))
        server = build_server(
            [each.methods[0].service for each in on_grpc],
            shared=shared,
            observers=watch.observers,
            guard=gateway.access,
            tls=tls,
            audit=gateway.security.audit,
            allowed=gateway.security.allowed,
            slow_reader_s=settings.slow_reader_s,
        )
        for service in on_grpc:
            add_service(server.grpc, service, gateway.identify)
        responses = Desk(gateway, intake)
        console = Console(gateway, picture, view)
        pages = [Extra("console", console, console_routes.router)] if console.served else []
        app = create_app(
            gateway, intake, responses, streams, [*services, Health(gateway)], watch.read, watch.layers, pages
        )
        rest = _RestServer(app.door, gateway, watch.refused, tls)
        readers = SlowReaders(lambda: rest.server_state.connections, settings.slow_reader_s, gateway.clock)
        watch.measure_readers(readers, server)
        runner = Runner(gateway.storage, asker(gateway, app.inside), settings, gateway.clock)
        following = asyncio.create_task(gateway.membership.run(), name="membership")
        access = contextlib.AsyncExitStack()
        peer_door: Server | None = None
        try:
            if gateway.access is not None:
                await access.enter_async_context(gateway.access.running())
            await gateway.settled()
            grpc = await server.listen(settings.gateway_grpc_listen)
            async with watch.shown(), asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(_outlast(following))
                telling = tasks.create_task(_tell_readiness(gateway, server), name="readiness")
                running = tasks.create_task(
                    runner.run(gateway.stopping, settings.drain_limit_s), name="batches"
                )
                reading = tasks.create_task(readers.run(), name="slow readers")
                sweeping = tasks.create_task(gateway.storage.keep_swept(), name="sweeping")
                sharing = tasks.create_task(
                    share(gateway.poison, ledger_of(settings, gateway.storage)), name="sharing"
                )
                serving = tasks.create_task(rest.serve(sockets=[listener]), name="rest")
                await rest.listening.wait()
                at = Address(settings.gateway_listen.host, listener.getsockname()[1])
                picture.listening(at, grpc)
                peers.own.name, peers.own.zone = picture.name, settings.zone
                peers.own.version = inferloom_mesh.__version__
                peer_door = await open_peer_door(gateway, view, peers)
                console.grpc = str(grpc)
                looking = tasks.create_task(picture.run(), name="picture")
                announcing = tasks.create_task(peers.run(), name="peers")
                gateway.monitor.start()
                on_ready(at, grpc)
                await stop.wait()
                gateway.leaving.set()
                if settings.drain_delay_s:
                    log.info("not ready; draining in %g s", settings.drain_delay_s)
                    await asyncio.sleep(settings.drain_delay_s)
                log.info("draining for at most %g s", settings.drain_limit_s)
                gateway.stopping.set()
                rest.should_exit = True
                leaving = tasks.create_task(streams.drain(settings.drain_limit_s), name="streams")
                ending = tasks.create_task(responses.drain(settings.drain_limit_s), name="responses")
                await server.stop(settings.drain_limit_s)
                await serving
                await ending
                await leaving
                await running
                telling.cancel()
                looking.cancel()
                announcing.cancel()
                sweeping.cancel()
                sharing.cancel()
                reading.cancel()
                waiting.cancel()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            gateway.monitor.stop()
            await gateway.storage.close()
            intake.close()
            await server.stop(0)
            if peer_door is not None:
                await peer_door.stop(0)
            await peers.close()
            await registry.close()
            await access.aclose()
            await gateway.connections.close()


async def _outlast(task: asyncio.Task[None]) -> None:
    """Fail as ``task`` does."""
    await task


async def _tell_readiness(gateway: Gateway, server: Server) -> None:
    """Keep gRPC's health the same as the REST façade's readiness, until cancelled."""
    while True:
        await server.set_serving(gateway.ready())
        await asyncio.sleep(READINESS_S)


class _RestServer(uvicorn.Server):
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
