"""A link that makes one gRPC call per request."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.attempt import Verdict
from inferloom_gateway.calls.link import CallFailedError, UnaryRequest
from inferloom_mesh.channel import open_channel
from inferloom_mesh.context import CallContext
from inferloom_mesh.status import read_failure

if TYPE_CHECKING:
    from inferloom.v1.inference_pb2_grpc import InferenceServiceAsyncStub

Event = TypeVar("Event")

_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
_BROKEN = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.ABORTED)


class GrpcLink:
    """A :class:`~inferloom_gateway.calls.link.WorkerLink` over a channel, which connects at the first call.

    Args:
        address: The worker's ``host:port``.
        clock: The clock of the contexts' deadlines.
        peer: Metadata that shows the mesh's secret.
    """

    def __init__(
        self,
        address: str,
        clock: Callable[[], float] = time.monotonic,
        peer: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._channel = open_channel(address)
        self._clock = clock
        self._peer = peer
        stub: InferenceServiceAsyncStub = InferenceServiceStub(self._channel)
        self._stub = stub
        self._unary: dict[type, Callable[..., Any]] = {
            pb.RerankRequest: stub.Rerank,
            pb.TokenizeRequest: stub.Tokenize,
            pb.DetokenizeRequest: stub.Detokenize,
            pb.GetTokenizerRequest: stub.GetTokenizer,
        }

    def generate(self, request: pb.GenerateRequest, context: CallContext) -> "_Call[pb.GenerateResponse]":
        """Start a generation."""
        call = self._stub.Generate(request, **self._how(context))
        return _Call(call, call.read)

    def embed(self, request: pb.EmbedRequest, context: CallContext) -> "_Call[pb.EmbedResponse]":
        """Start an embedding."""
        call = self._stub.Embed(request, **self._how(context))
        return _Call(call, call.read)

    def unary(self, request: UnaryRequest, context: CallContext) -> "_Call[Any]":
        """Start a call that has one response."""
        call = self._unary[type(request)](request, **self._how(context))
        responses = [call]

        async def read() -> Any:
            return await responses.pop() if responses else grpc.aio.EOF

        return _Call(call, read)

    async def probe(self, timeout_s: float) -> bool:
        """Ask for the worker's health; whether it gave any answer."""
        check = health_pb2_grpc.HealthStub(self._channel).Check  # type: ignore[attr-defined] # set at run time
        try:
            await check(health_pb2.HealthCheckRequest(), timeout=timeout_s, wait_for_ready=True)
        except grpc.aio.AioRpcError as failure:
            return failure.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND)
        return True

    async def close(self, grace_s: float | None) -> None:
        """Close the channel once its calls have ended, after ``grace_s`` at the latest; None: at once."""
        await self._channel.close(grace_s)

    def _how(self, context: CallContext) -> dict[str, Any]:
        now = self._clock()
        return {"timeout": context.time_left(now), "metadata": (*context.metadata(now), *self._peer)}


class _Call(Generic[Event]):
    """An :class:`~inferloom_gateway.calls.link.EventSource` of one gRPC call."""

    __slots__ = ("_aborted", "_call", "_read")

    def __init__(self, call: grpc.aio.RpcContext, read: Callable[[], Awaitable[Any]]) -> None:
        self._call = call
        self._read = read
        self._aborted: Verdict | None = None

    async def read(self) -> Event | None:
        """Return the next event; None after the last."""
        try:
            event: Any = await self._read()
        except grpc.aio.AioRpcError as failure:
            raise CallFailedError(self._aborted or judge(failure)) from failure
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._aborted is None or (task is not None and task.cancelling()):
                raise  # not the call but its reader is ended
            raise CallFailedError(self._aborted) from None
        return None if event is grpc.aio.EOF else event

    def abort(self, verdict: Verdict) -> None:
        """End the call; the read that waits, or the next one, fails with ``verdict``."""
        self._aborted = verdict
        self._call.cancel()

    def cancel(self) -> None:
        """End the call."""
        self._call.cancel()


def judge(failure: grpc.aio.AioRpcError) -> Verdict:
    """Judge a failed call by its status: one that a worker chose, or one that the transport made."""
    read = read_failure(failure)
    if read.ours:
        return attempt.refused(read.error)
    if read.code in _LOST:
        return attempt.lost()
    if read.code in _BROKEN:
        return attempt.broken()
    if read.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return attempt.overdue(read.error)
    return attempt.other(read.error)
