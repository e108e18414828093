"""A whole mesh in this process, around workers that repeat their prompts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from grpc.aio import Channel
from openai import AsyncOpenAI

from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_gateway.service import serve as serve_gateway
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.channel import open_channel
from inferloom_mesh.net import Address
from inferloom_registry.service import serve as serve_registry
from inferloom_registry.settings import RegistrySettings
from tests.patience import PATIENCE_S
from tests.wire.fake_worker import ANYWHERE
from tests.wire.running_worker import RunningWorker, running_worker


@dataclass(frozen=True)
class EchoMesh:
    """Everything that a test talks to."""

    rest: Address
    grpc: Address
    http: httpx.AsyncClient
    channel: Channel
    workers: list[RunningWorker]
    stop: asyncio.Event
    """Ends the gateway."""
    serving: "asyncio.Task[None]"
    """The gateway."""
    registry: Address
    """Where further workers register."""

    @property
    def stub(self) -> Any:
        """The gRPC façade."""
        return InferenceServiceStub(self.channel)

    def openai(self, **options: Any) -> AsyncOpenAI:
        """An SDK client that does not retry by itself."""
        return AsyncOpenAI(base_url=f"http://{self.rest}/v1", api_key="EMPTY", max_retries=0, **options)


@asynccontextmanager
async def echo_mesh(
    *models: str, workers: int = 1, gateway: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[EchoMesh]:
    """Run a registry, workers that have ``models`` (``NAME=echo:…``), and a gateway until the block ends.

    ``gateway`` has settings of it, and ``settings`` are of the workers.
    """
    loop = asyncio.get_running_loop()
    stop, stop_gateway = asyncio.Event(), asyncio.Event()
    registered: asyncio.Future[Address] = loop.create_future()
    listening: asyncio.Future[tuple[Address, Address]] = loop.create_future()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="inferloom-tests-"))
        registry_settings = RegistrySettings(registry_listen=ANYWHERE, lease_ttl_s=60, settle_s=2)
        registry = asyncio.create_task(serve_registry(registry_settings, stop, registered.set_result))
        address = await registered
        running = [
            await stack.enter_async_context(running_worker(*models, registry=str(address), **settings))
            for _ in range(workers)
        ]
        configured = GatewaySettings(
            registry=address,
            gateway_listen=ANYWHERE,
            gateway_grpc_listen=ANYWHERE,
            **{"drain_limit_s": 1, "store": Path(folder) / "store", **(gateway or {})},
        )
        serving = asyncio.create_task(
            serve_gateway(configured, stop_gateway, lambda *found: listening.set_result(found))
        )
        rest, grpc = await listening
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=f"http://{rest}", timeout=PATIENCE_S)
        )
        channel = await stack.enter_async_context(open_channel(grpc))
        async with asyncio.timeout(PATIENCE_S):
            while len((await http.get("/v1/models")).json()["data"]) < len(models):
                pass  # each look gives way to everything else
        try:
            yield EchoMesh(rest, grpc, http, channel, running, stop_gateway, serving, address)
        finally:
            stop_gateway.set()
            await serving
    stop.set()
    await registry
