"""A link that makes one gRPC call per request."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.attempt import Verdict
from inferloom_gateway.calls.judging import judge
from inferloom_gateway.calls.link import CallFailedError, CallSink, UnaryRequest
from inferloom_mesh.channel import open_channel
from inferloom_mesh.context import CallContext
from inferloom_mesh.roles import Role
from inferloom_mesh.security import OPEN, Security
from inferloom_mesh.status import read_failure

if TYPE_CHECKING:
    from inferloom.v1.inference_pb2_grpc import InferenceServiceAsyncStub

log = logging.getLogger(__name__)

_UNREACHED = (
    "failed to connect to all addresses",
    "errors resolving ",
    "DNS resolution failed for ",
    "empty address list",
)
"""How gRPC begins the details of a call for which there was no connection: nobody listens, or the name is not
known, in the words of each resolver that it has."""


class GrpcLink:
    """A :class:`~inferloom_gateway.calls.link.WorkerLink` over a channel, which connects at the first call.

    Args:
        address: The worker's ``host:port``.
        clock: The clock of the contexts' deadlines.
        security: What the gateway shows the worker, and asks of it.
    """

    def __init__(
        self,
        address: str,
        clock: Callable[[], float] = time.monotonic,
        security: Security = OPEN,
    ) -> None:
        self.channel = open_channel(address, security=security, of=Role.WORKER)
        """Where its calls go; others may be made on it too."""
        self._clock = clock
        self._security = security
        stub: InferenceServiceAsyncStub = InferenceServiceStub(self.channel)
        self._stub = stub
        self._unary: dict[type, Callable[..., Any]] = {
            pb.RerankRequest: stub.Rerank,
            pb.TokenizeRequest: stub.Tokenize,
            pb.DetokenizeRequest: stub.Detokenize,
            pb.GetTokenizerRequest: stub.GetTokenizer,
        }

    @property
    def peer(self) -> tuple[tuple[str, str], ...]:
        """What goes with a call that begins now."""
        return self._security.metadata

    @property
    def transport(self) -> str:
        """A call for each."""
        return "call"

    def attach(self) -> None:
        """Nothing: the first call connects."""

    def generate(
        self, request: pb.GenerateRequest, context: CallContext, sink: CallSink[pb.GenerateResponse]
    ) -> "GrpcCall":
        """Start a generation."""
        call = self._stub.Generate(request, **self._how(context))
        return GrpcCall(call, call.read, sink, self._connected)

    def embed(
        self, request: pb.EmbedRequest, context: CallContext, sink: CallSink[pb.EmbedResponse]
    ) -> "GrpcCall":
        """Start an embedding."""
        call = self._stub.Embed(request, **self._how(context))
        return GrpcCall(call, call.read, sink, self._connected)

    def unary(self, request: UnaryRequest, context: CallContext, sink: CallSink[Any]) -> "GrpcCall":
        """Start a call that has one response."""
        call = self._unary[type(request)](request, **self._how(context))
        responses = [call]

        async def read() -> Any:
            return await responses.pop() if responses else grpc.aio.EOF

        return GrpcCall(call, read, sink, self._connected)

    async def probe(self, timeout_s: float) -> bool:
        """Ask for the worker's health; whether it gave any answer."""
        check = health_pb2_grpc.HealthStub(self.channel).Check  # type: ignore[attr-defined] # set at run time
        try:
            await check(health_pb2.HealthCheckRequest(), timeout=timeout_s, wait_for_ready=True)
        except grpc.aio.AioRpcError as failure:
            return failure.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND)
        return True

    async def close(self, grace_s: float | None) -> None:
        """Close the channel once its calls have ended, after ``grace_s`` at the latest; None: at once."""
        await self.channel.close(grace_s)

    def _connected(self) -> bool:
        return self.channel.get_state() is grpc.ChannelConnectivity.READY

    def _how(self, context: CallContext) -> dict[str, Any]:
        now = self._clock()
        return {"timeout": context.time_left(now), "metadata": (*context.metadata(now), *self.peer)}


class GrpcCall:
    """A :class:`~inferloom_gateway.calls.link.RunningCall` of one gRPC call, which a task reads from.

    gRPC does not tell when a request has gone: it has with a connection, and where a call fails for another
    reason than that there was none.

    Args:
        call: The call.
        read: Gives its next event.
        sink: Takes them.
        connected: Whether there is a connection now.
    """

    def __init__(
        self,
        call: grpc.aio.RpcContext,
        read: Callable[[], Awaitable[Any]],
        sink: CallSink[Any],
        connected: Callable[[], bool],
    ) -> None:
        self._call = call
        self._read = read
        self._sink = sink
        self._connected = connected
        self._sent: bool | None = None
        """As far as it is known."""
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._task = asyncio.create_task(self._pump())

    @property
    def sent(self) -> bool:
        """Whether the worker may have it."""
        return self._connected() if self._sent is None else self._sent

    @property
    def mute(self) -> bool:
        """Nothing comes of it before its first event."""
        return True

    def pause(self) -> None:
        """Read no more for now."""
        self._wanted.clear()

    def resume(self) -> None:
        """Read on."""
        self._wanted.set()

    def cancel(self) -> None:
        """End the call."""
        self._task.cancel()
        self._call.cancel()

    async def _pump(self) -> None:
        verdict: Verdict | None = None
        try:
            while True:
                event = await self._read()
                if event is grpc.aio.EOF:
                    break
                self._sent = True
                self._sink.take(event)
                if not self._wanted.is_set():
                    await self._wanted.wait()
        except grpc.aio.AioRpcError as failure:
            self._sent = not (failure.details() or "").startswith(_UNREACHED)
            verdict = judge(read_failure(failure))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            verdict = attempt.lost()  # its channel was closed
        except Exception:  # a bug: the call must end, or its caller waits for ever
            log.exception("an event of a worker could not be handled")
            self._call.cancel()
            verdict = attempt.bug()
        self._sink.end(None if verdict is None else CallFailedError(verdict))
