"""The registry as a service: its server, its ticker, and its end."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable

from inferloom.v1.registry_pb2_grpc import add_RegistryServiceServicer_to_server
from inferloom_mesh.metrics import Metrics, rendered
from inferloom_mesh.metrics_listener import metrics_at
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role
from inferloom_mesh.server import build_server
from inferloom_registry.addresses import AddressPolicy
from inferloom_registry.lease_table import LeaseTable
from inferloom_registry.meters import Meters
from inferloom_registry.registry import Registry
from inferloom_registry.servicer import RegistryServicer
from inferloom_registry.settings import RegistrySettings
from inferloom_registry.stores.memory import MemoryStore
from inferloom_registry.watch import WatchHub

log = logging.getLogger(__name__)

SERVICE = "inferloom.v1.RegistryService"

TICK = 0.25
"""Seconds between looks at the clock: how late a lease can be found to have run out."""

GRACE = 0.5
"""Seconds that running calls get when the registry stops. KeepAlive has no end that could be waited for."""


async def serve(
    settings: RegistrySettings,
    stop: asyncio.Event,
    on_ready: Callable[[Address], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Serve the registry until ``stop`` is set.

    Args:
        settings: Its settings.
        stop: Ends it.
        on_ready: Called once, with the address that it listens on.
        clock: Seconds, monotonic; every lease is measured by it.
        sleep: Waits for some seconds of that clock.

    Raises:
        OSError: The address cannot be bound, or a file that is named cannot be used.
    """
    settle = settings.lease_ttl_s if settings.settle_s is None else settings.settle_s
    table = LeaseTable(clock, settle=settle, max_workers=settings.max_workers)
    security = settings.security(Role.REGISTRY)
    metrics = Metrics()
    hub = WatchHub(table, secrets.token_hex(8))
    registry = Registry(table, MemoryStore(), hub, listener=Meters(metrics, table))
    server = build_server([SERVICE], guard=security.guard, tls=security.inside(), audit=security.audit)
    servicer = RegistryServicer(registry, AddressPolicy(settings.allowed_networks), settings)
    add_RegistryServiceServicer_to_server(servicer, server.grpc)

    async def read(accept: str) -> tuple[bytes, str]:
        return rendered(metrics.snapshot(), accept)

    where, chosen = settings.registry_metrics_listen, "registry_metrics_listen" in settings.model_fields_set
    await registry.open()
    try:
        address = await server.listen(settings.registry_listen)
        try:
            async with metrics_at(where, read, chosen=chosen):
                await server.set_serving(True)
                log.info("registry listens on %s", address)
                on_ready(address)
                await _tick_until(stop, registry, sleep)
        finally:
            registry.hub.close()
            await server.stop(GRACE)
    finally:
        await registry.close()
    log.info("registry stopped")


async def _tick_until(
    stop: asyncio.Event, registry: Registry, sleep: Callable[[float], Awaitable[None]]
) -> None:
    async def tick_for_ever() -> None:
        while True:
            await registry.tick()
            await sleep(TICK)

    ticker = asyncio.create_task(tick_for_ever(), name="lease ticker")
    stopped = asyncio.create_task(stop.wait(), name="stop")
    try:
        # A ticker that fails ends the registry, which is better than leases that never run out.
        await asyncio.wait({ticker, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if ticker.done():
            ticker.result()
    finally:
        ticker.cancel()
        stopped.cancel()
        await asyncio.gather(ticker, stopped, return_exceptions=True)
