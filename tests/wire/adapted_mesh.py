"""A whole mesh in this process, around a tiny random model that takes adapters."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
from openai import AsyncOpenAI

from inferloom_gateway.service import serve as serve_gateway
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.net import Address
from inferloom_registry.service import serve as serve_registry
from inferloom_registry.settings import RegistrySettings
from inferloom_worker.text.bytes_tokenizer import bytes_tokenizer
from tests.patience import PATIENCE_S
from tests.wire.running_worker import RunningWorker, running_worker
from tests.worker.models import make_model

ANYWHERE = Address("127.0.0.1", 0)


def make_base(folder: Path, **fields: Any) -> Path:
    """Write a random model that reads and writes bytes into ``folder``, and return the folder."""
    make_model(folder, "llama", vocab_size=258, **fields)
    bytes_tokenizer()._backend.save(str(folder / "tokenizer.json"))
    return folder


@dataclass(frozen=True, slots=True)
class AdaptedMesh:
    """A worker, and the OpenAI SDK in front of its mesh."""

    worker: RunningWorker
    openai: AsyncOpenAI

    async def until_settled(self) -> None:
        """Return when the registry is sure of its set: until then the gateway denies no model."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await self.openai.models.retrieve("nobody")
                except openai.NotFoundError:
                    return
                except openai.APIStatusError:
                    await asyncio.sleep(0.1)

    async def until_listed(self, *models: str) -> None:
        """Return when the gateway lists exactly these models."""
        async with asyncio.timeout(PATIENCE_S):
            while [model.id async for model in self.openai.models.list()] != list(models):
                pass  # each look is a call that gives way to everything else


@asynccontextmanager
async def adapted_mesh(base: Path, **settings: Any) -> AsyncIterator[AdaptedMesh]:
    """Serve the model in ``base`` as ``base`` behind a registry and a gateway until the context ends."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    registered: asyncio.Future[Address] = loop.create_future()
    listening: asyncio.Future[Address] = loop.create_future()
    async with asyncio.TaskGroup() as services:
        services.create_task(
            serve_registry(
                RegistrySettings(registry_listen=ANYWHERE, lease_ttl_s=60, settle_s=2),
                stop,
                registered.set_result,
            )
        )
        registry = await registered
        gateway = GatewaySettings(
            registry=registry, gateway_listen=ANYWHERE, gateway_grpc_listen=ANYWHERE, drain_limit_s=1
        )
        services.create_task(serve_gateway(gateway, stop, lambda rest, _: listening.set_result(rest)))
        url = f"http://{await listening}/v1"
        worker = {"registry": str(registry), "dtype": "float32", "kv_cache_mib": 8, **settings}
        async with (
            running_worker(f"base={base}", **worker) as running,
            AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client,
        ):
            mesh = AdaptedMesh(running, client)
            await mesh.until_settled()
            yield mesh
        stop.set()
