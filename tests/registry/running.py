"""A registry that really listens, for tests over gRPC."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from inferloom_mesh.net import Address
from inferloom_registry.service import serve
from inferloom_registry.settings import RegistrySettings
from tests.registry.clock import FakeClock

ANY_PORT = Address("127.0.0.1", 0)


@asynccontextmanager
async def running_registry(
    listen: Address = ANY_PORT, clock: FakeClock | None = None, **settings: object
) -> AsyncIterator[Address]:
    """Serve a registry, on real time or on ``clock``; gives the address that it listens on."""
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    told = RegistrySettings(registry_listen=listen, **settings)  # type: ignore[arg-type] # of many types
    on_ready: Callable[[Address], None] = ready.set_result
    serving = asyncio.create_task(
        serve(told, stop, on_ready, clock=clock, sleep=clock.sleep) if clock else serve(told, stop, on_ready)
    )
    try:
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield ready.result()
    finally:
        stop.set()
        await serving
