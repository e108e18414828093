"""Both façades of one gateway process, and what stands behind them, put together."""

from collections.abc import Sequence

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
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.grpc_facade import add_service
from inferloom_gateway.http.app import Extra, create_app
from inferloom_gateway.http.intake import Intake
from inferloom_gateway.http.responses.desk import Desk
from inferloom_gateway.http.rest_server import RestServer
from inferloom_gateway.http.slow_readers import SlowReaders
from inferloom_gateway.http.streams import kept as rest_streams
from inferloom_gateway.observe.watch import Watch
from inferloom_gateway.peer_door import open_peer_door
from inferloom_gateway.picture.peers import Peers
from inferloom_gateway.picture.picture import Picture
from inferloom_gateway.picture.view import View
from inferloom_gateway.streams.desk import StreamDesk
from inferloom_mesh.net import Address
from inferloom_mesh.security import ServerTls
from inferloom_mesh.server import Server, build_server


class Facades:
    """The doors of a process. Nothing listens or runs yet.

    Args:
        gateway: What they work on.
        tls: How they are encrypted. None: they are not.

    Raises:
        OSError: Traces are to go where they cannot.
    """

    def __init__(self, gateway: Gateway, tls: ServerTls | None) -> None:
        settings = gateway.settings
        self._gateway = gateway
        self._intake = Intake(settings.body_memory_bytes)
        self.watch = Watch(gateway, self._intake)
        self.watch.measure_door(tls)
        self.picture = Picture(gateway)
        self.peers = Peers(settings.registry, gateway.security, gateway.clock)
        self._view = View(self.picture, self.peers)
        self._registry = RegistryReads(gateway)
        self.streams = StreamDesk(gateway, {**rest_streams.RESTORE, **resumable.RESTORE})
        self.responses = Desk(gateway, self._intake)
        self._console = Console(gateway, self.picture, self._view)
        services: list[Service] = [Inference(gateway, self.streams)]
        if settings.registry_calls:
            services.append(self._registry)
        self.grpc = self._grpc_server(services, tls)
        pages = [Extra("console", self._console, console_routes.router)] if self._console.served else []
        app = create_app(
            *(gateway, self._intake, self.responses, self.streams),
            *([*services, Health(gateway)], self.watch.read, self.watch.layers, pages),
        )
        self.rest = RestServer(app.door, gateway, self.watch.refused, tls)
        self.readers = SlowReaders(
            lambda: self.rest.server_state.connections, settings.slow_reader_s, gateway.clock
        )
        self.watch.measure_readers(self.readers, self.grpc)
        ask = asker(gateway, app.inside)
        self.runner = Runner(gateway.storage, ask, gateway.dispatcher.missing, settings, gateway.clock)
        self._peer_door: Server | None = None

    async def opened(self, rest: Address, grpc: Address) -> None:
        """Know where both listen, and listen for other gateways.

        Raises:
            OSError: That address cannot be listened on.
        """
        settings, own = self._gateway.settings, self.peers.own
        self.picture.listening(rest, grpc)
        own.name, own.zone, own.version = self.picture.name, settings.zone, inferloom_mesh.__version__
        self._peer_door = await open_peer_door(self._gateway, self._view, self.peers)
        self._console.grpc = str(grpc)

    async def close(self) -> None:
        """End what is left."""
        self._intake.close()
        await self.grpc.stop(0)
        if self._peer_door is not None:
            await self._peer_door.stop(0)
        await self.peers.close()
        await self._registry.close()

    def _grpc_server(self, services: Sequence[Service], tls: ServerTls | None) -> Server:
        gateway, settings = self._gateway, self._gateway.settings
        served = list(services)
        if settings.keys is not None or not settings.behind_proxy:  # behind one, nobody says who operates
            served.append(GatewayReads(self._view, gateway.check))
        server = build_server(
            [each.methods[0].service for each in served],
            shared=settings.seat is not None,
            observers=self.watch.observers,
            guard=gateway.access,
            tls=tls,
            audit=gateway.security.audit,
            allowed=gateway.security.allowed,
            slow_reader_s=settings.slow_reader_s,
        )
        for service in served:
            add_service(server.grpc, service, gateway.identify)
        return server
