"""A whole gateway in process, in front of scripted workers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from grpc.aio import Channel
from openai import AsyncOpenAI, OpenAI

from inferloom.v1 import inference_pb2
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_gateway.service import serve
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.channel import open_channel
from inferloom_mesh.net import Address
from tests.patience import PATIENCE_S, until_async
from tests.wire import documented
from tests.wire.fake_worker import ANYWHERE, FakeRegistry, FakeWorker


@dataclass
class GatewayMesh:
    """Everything that a test talks to."""

    registry: FakeRegistry
    workers: list[FakeWorker]
    rest: Address
    grpc: Address
    http: httpx.AsyncClient
    channel: Channel
    stop: asyncio.Event
    store: Path
    """The folder of its store."""

    @property
    def worker(self) -> FakeWorker:
        """The first worker."""
        return self.workers[0]

    @property
    def stub(self) -> Any:
        """The gRPC façade."""
        return InferenceServiceStub(self.channel)

    @property
    def base_url(self) -> str:
        """What an OpenAI client is pointed at."""
        return f"http://{self.rest}/v1"

    def openai(self) -> AsyncOpenAI:
        """An asynchronous SDK client that does not retry by itself."""
        return AsyncOpenAI(base_url=self.base_url, api_key="EMPTY", max_retries=0)

    async def in_thread(self, use: Callable[[OpenAI], Any]) -> Any:
        """Run something on the synchronous SDK client."""

        def run() -> Any:
            with OpenAI(base_url=self.base_url, api_key="EMPTY", max_retries=0) as client:
                return use(client)

        return await asyncio.to_thread(run)

    async def lists(self, *models: str) -> None:
        """Wait until the gateway serves exactly these models."""

        async def listed() -> list[str]:
            return [model.id for model in (await self.stub.ListModels(LIST)).models]

        await until_async(listed, "the list of models", lambda names: names == list(models))

    async def answers(self, body: dict[str, Any]) -> None:
        """Wait until a chat request succeeds."""

        async def answer() -> httpx.Response:
            return await self.http.post("/v1/chat/completions", json=body)

        await until_async(answer, "an answer", lambda seen: seen.status_code == 200)


LIST = inference_pb2.ListModelsRequest()


@asynccontextmanager
async def gateway_mesh(*workers: FakeWorker, **settings: Any) -> AsyncIterator[GatewayMesh]:
    """Run a gateway in front of ``workers`` until the block ends."""
    registry = await FakeRegistry().start()
    for worker in workers:
        await worker.start()
        registry.put(worker.registered())
    listening: asyncio.Future[tuple[Address, Address]] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    folder = TemporaryDirectory(prefix="inferloom-tests-")
    configured = GatewaySettings(
        registry=registry.address,
        gateway_listen=ANYWHERE,
        gateway_grpc_listen=ANYWHERE,
        # Scripted workers say that they are full, and go, for effect.
        **{
            "drain_limit_s": 1,
            "gateway_queue_size": 0,
            "absent_wait_s": 0,
            "store": Path(folder.name) / "store",
            **settings,
        },
    )
    serving = asyncio.create_task(serve(configured, stop, lambda *found: listening.set_result(found)))
    either: list[asyncio.Future[Any]] = [serving, listening]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        folder.cleanup()
        await serving
    rest, grpc_address = listening.result()
    try:
        async with (
            httpx.AsyncClient(
                base_url=f"http://{rest}", timeout=PATIENCE_S, event_hooks={"response": [documented.check]}
            ) as http,
            open_channel(grpc_address) as channel,
        ):
            store = configured.store or Path(folder.name)
            yield GatewayMesh(registry, list(workers), rest, grpc_address, http, channel, stop, store)
    finally:
        stop.set()
        await serving
        for worker in workers:
            await worker.kill()
        await registry.stop()
        folder.cleanup()
