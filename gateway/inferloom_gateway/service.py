"""The gateway as a process: both façades, from start to drained stop."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from inferloom_gateway.door_tls import door_tls
from inferloom_gateway.facades import Facades
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http.rest_server import listener_of
from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.storage.poison_sharing import ledger_of, share
from inferloom_mesh.net import Address
from inferloom_mesh.server import Server

log = logging.getLogger(__name__)

READINESS_S = 0.1
"""How late gRPC's health may follow readiness."""


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
    with contextlib.closing(listener_of(settings)) as listener:
        facades = Facades(gateway, tls)
        following = asyncio.create_task(gateway.membership.run(), name="membership")
        access = contextlib.AsyncExitStack()
        try:
            if gateway.access is not None:
                await access.enter_async_context(gateway.access.running())
            await gateway.settled()
            grpc = await facades.grpc.listen(settings.gateway_grpc_listen)
            async with facades.watch.shown(), asyncio.TaskGroup() as tasks:
                kept = [tasks.create_task(_outlast(following)), *_upkeep(gateway, facades, tasks)]
                batches = facades.runner.run(gateway.stopping, settings.drain_limit_s)
                running = tasks.create_task(batches, name="batches")
                serving = tasks.create_task(facades.rest.serve(sockets=[listener]), name="rest")
                await facades.rest.listening.wait()
                rest = Address(settings.gateway_listen.host, listener.getsockname()[1])
                await facades.opened(rest, grpc)
                kept.append(tasks.create_task(facades.picture.run(), name="picture"))
                kept.append(tasks.create_task(facades.peers.run(), name="peers"))
                gateway.monitor.start()
                on_ready(rest, grpc)
                await stop.wait()
                await _drain(gateway, facades, tasks, (serving, running))
                for task in kept:
                    task.cancel()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            gateway.monitor.stop()
            await gateway.storage.close()
            await facades.close()
            await access.aclose()
            await gateway.connections.close()


def _upkeep(gateway: Gateway, facades: Facades, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
    """Begin what is done all the time, until cancelled."""
    ledger = ledger_of(gateway.settings, gateway.storage)
    return [
        tasks.create_task(_tell_readiness(gateway, facades.grpc), name="readiness"),
        tasks.create_task(facades.readers.run(), name="slow readers"),
        tasks.create_task(gateway.storage.keep_swept(), name="sweeping"),
        tasks.create_task(share(gateway.poison, ledger), name="sharing"),
    ]


async def _drain(
    gateway: Gateway, facades: Facades, tasks: asyncio.TaskGroup, until: tuple[asyncio.Task[None], ...]
) -> None:
    """Take nothing new, and let what runs end, with ``until`` at last."""
    settings = gateway.settings
    gateway.leaving.set()
    if settings.drain_delay_s:
        log.info("not ready; draining in %g s", settings.drain_delay_s)
        await asyncio.sleep(settings.drain_delay_s)
    limit_s = settings.drain_limit_s
    log.info("draining for at most %g s", limit_s)
    gateway.stopping.set()
    facades.rest.should_exit = True
    leaving = tasks.create_task(facades.streams.drain(limit_s), name="streams")
    ending = tasks.create_task(facades.responses.drain(limit_s), name="responses")
    await facades.grpc.stop(limit_s)
    for task in (leaving, ending, *until):
        await task


async def _outlast(task: asyncio.Task[None]) -> None:
    """Fail as ``task`` does."""
    await task


async def _tell_readiness(gateway: Gateway, server: Server) -> None:
    """Keep gRPC's health the same as the REST façade's readiness, until cancelled."""
    while True:
        await server.set_serving(gateway.ready())
        await asyncio.sleep(READINESS_S)
