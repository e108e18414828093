"""The registry as a service: its server, its ticker, and its end."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from inferloom.v1.registry_pb2_grpc import add_RegistryServiceServicer_to_server
from inferloom_mesh.backoff import backoff
from inferloom_mesh.certificate_terms import CertificateTerms
from inferloom_mesh.errors import InferloomError
from inferloom_mesh.lateness import LoopMonitor
from inferloom_mesh.metrics import Metrics, rendered
from inferloom_mesh.metrics_listener import metrics_at
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role
from inferloom_mesh.security import ServerTls
from inferloom_mesh.server import build_server
from inferloom_registry.addresses import AddressPolicy
from inferloom_registry.etcd.client import EtcdClient
from inferloom_registry.joining import Joining
from inferloom_registry.lease_table import LeaseTable
from inferloom_registry.meters import Meters
from inferloom_registry.registry import Registry
from inferloom_registry.servicer import RegistryServicer
from inferloom_registry.settings import RegistrySettings
from inferloom_registry.stores.etcd import EtcdStore
from inferloom_registry.stores.memory import MemoryStore
from inferloom_registry.stores.protocol import Store
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
        OSError: The address cannot be bound, or a file with a secret or a certificate cannot be read.
    """
    name = secrets.token_hex(8)
    table = LeaseTable(clock, settle=0, max_workers=settings.max_workers, registry=name)
    table.freeze("it is not open yet")
    metrics, monitor = Metrics(), LoopMonitor()
    monitor.measure(metrics)
    terms = CertificateTerms(metrics)
    store = _store(settings, name, terms)
    registry = Registry(table, store, WatchHub(table, name), listener=Meters(metrics, table))
    security = settings.security(Role.REGISTRY)
    terms.mesh(security)
    server = build_server(
        [SERVICE],
        guard=security.guard,
        tls=security.inside(),
        audit=security.audit,
        allowed=security.allowed,
    )
    signing, where_joined = settings.registry_ca, settings.registry_join_listen
    joining = None if signing is None else Joining(signing, settings.join_life_s, security.audit)
    if joining is not None:
        terms.certificate("joining", lambda: joining.authority)
    servicer = RegistryServicer(registry, AddressPolicy(settings.allowed_networks), settings, joining)
    add_RegistryServiceServicer_to_server(servicer, server.grpc)

    async def read(accept: str) -> tuple[bytes, str]:
        return rendered(metrics.snapshot(), accept)

    where, chosen = settings.registry_metrics_listen, "registry_metrics_listen" in settings.model_fields_set
    try:
        if where_joined is not None and security.tls is not None:
            joined = server.also_listen(where_joined, ServerTls(security.tls))
            log.info("workers with a token join at %s", joined)
        address = await server.listen(settings.registry_listen)
        try:
            async with metrics_at(where, read, chosen=chosen):
                if await _opened(registry, settings, stop):
                    await server.set_serving(True)
                    log.info("registry listens on %s", address)
                    monitor.start()
                    on_ready(address)
                    await _tick_until(stop, registry, sleep)
        finally:
            monitor.stop()
            registry.hub.close()
            await server.stop(GRACE)
    finally:
        await registry.close()
        if joining is not None:
            joining.close()
    log.info("registry stopped")


def _store(settings: RegistrySettings, name: str, terms: CertificateTerms) -> Store:
    if settings.etcd is None:
        return MemoryStore(name)
    access = settings.etcd_access()
    if (files := access.tls) is not None:
        terms.outside("etcd", files.current)
    client = EtcdClient(settings.etcd, access)
    return EtcdStore(client, name, str(settings.registry_listen), settings.etcd_prefix)


async def _opened(registry: Registry, settings: RegistrySettings, stop: asyncio.Event) -> bool:
    """Open the registry; while its store is out of reach, say why and try again. False: stopped meanwhile."""
    told = ""
    waits = backoff(0.2, 2.0)
    while not stop.is_set():
        try:
            await registry.open()
        except InferloomError as failure:
            if failure.message != told:
                told = failure.message
                log.error("not ready: %s", told)
                registry.table.freeze(told)
            with suppress(TimeoutError):
                async with asyncio.timeout(next(waits)):
                    await stop.wait()
            continue
        settle = settings.settle_s
        if settle is None:
            # What a store remembers is whole; one that is empty may have been lost.
            settle = 0 if settings.etcd is not None and registry.table.leases() else settings.lease_ttl_s
        registry.begin(settle)
        return True
    return False


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
