"""A real worker in this process, and clients of it over real gRPC."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import worker_pb2
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom.v1.worker_pb2_grpc import WorkerServiceStub
from inferloom_mesh.channel import open_channel
from inferloom_mesh.errors import InferloomError
from inferloom_mesh.net import Address
from inferloom_mesh.status import from_rpc_error
from inferloom_worker.service import serve
from inferloom_worker.settings import WorkerSettings
from tests.patience import PATIENCE_S, until_async


@dataclass(slots=True)
class RunningWorker:
    """A worker that serves."""

    address: Address
    stop: asyncio.Event
    serving: "asyncio.Task[None]"
    channel: grpc.aio.Channel
    stub: Any
    control: Any

    async def generate(self, request: pb.GenerateRequest, timeout: float = PATIENCE_S) -> "Answer":
        """Run a Generate call to its end."""
        return Answer([event async for event in self.stub.Generate(request, timeout=timeout)])

    async def status(self) -> worker_pb2.GetStatusResponse:
        """What the worker says of itself."""
        response: worker_pb2.GetStatusResponse = await self.control.GetStatus(worker_pb2.GetStatusRequest())
        return response

    async def until(self, running: int, waiting: int = 0) -> None:
        """Return when the worker has exactly this load; fail if it does not come to that."""
        await until_async(
            self.status,
            f"{running} running and {waiting} waiting",
            lambda seen: (seen.load.running, seen.load.waiting) == (running, waiting),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """All events of a Generate call."""

    events: Sequence[pb.GenerateResponse]

    def all(self, kind: str) -> list[Any]:
        """The events of one kind."""
        return [getattr(event, kind) for event in self.events if event.WhichOneof("event") == kind]

    def text(self, choice: int = 0) -> str:
        """The text of one choice."""
        return "".join(delta.text for delta in self.all("delta") if delta.choice == choice)

    def tokens(self, choice: int = 0) -> list[int]:
        """The tokens of one choice."""
        return [token for delta in self.all("delta") if delta.choice == choice for token in delta.token_ids]


@asynccontextmanager
async def running_worker(*models: str, **settings: Any) -> AsyncIterator[RunningWorker]:
    """Serve models, given as NAME=SPEC, until the context ends."""
    unknown = settings.keys() - WorkerSettings.model_fields.keys()
    assert not unknown, f"there are no settings {unknown}, and they would be passed over"
    values = {"registry": None, "worker_listen": "127.0.0.1:0", "drain_limit_s": 0.0, **settings}
    stop = asyncio.Event()
    ready: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(WorkerSettings(models=models, **values), stop, ready.set_result))
    either: set[asyncio.Future[Any]] = {serving, ready}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_S)
    if serving.done():
        serving.result()
    try:
        address = ready.result()
        async with open_channel(address) as channel:
            yield RunningWorker(
                address, stop, serving, channel, InferenceServiceStub(channel), WorkerServiceStub(channel)
            )
    finally:
        stop.set()
        await serving


def error_of(failure: grpc.aio.AioRpcError) -> InferloomError:
    """The error that a worker answered with; fail if the status is not from it."""
    keys = [key for key, _ in failure.trailing_metadata() or ()]
    assert "grpc-status-details-bin" in keys, failure  # the worker raised it, and not the transport
    return from_rpc_error(failure)


async def refused(call: Any) -> InferloomError:
    """The error of a call, streaming or not, that must fail."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as failure:
        return error_of(failure)
    raise AssertionError("the call did not fail")


def text_request(text: str = "hello", model: str = "echo", **fields: Any) -> pb.GenerateRequest:
    """A request to complete a text."""
    return pb.GenerateRequest(model=model, text=text, **fields)


def chat_request(*contents: str, model: str = "echo", **fields: Any) -> pb.GenerateRequest:
    """A request to answer what a user says."""
    messages = [
        pb.ChatMessage(role=pb.ROLE_USER, parts=[pb.ContentPart(text=content)]) for content in contents
    ]
    return pb.GenerateRequest(model=model, chat=pb.ChatInput(messages=messages), **fields)


def limited(max_tokens: int, **fields: Any) -> dict[str, Any]:
    """Stopping options with a limit."""
    return {"stopping": pb.StoppingOptions(max_tokens=max_tokens, **fields)}
