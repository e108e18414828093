"""A link that carries all calls to a worker on one stream."""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import link_pb2
from inferloom.v1.link_pb2_grpc import LinkServiceStub
from inferloom_gateway.calls.attach.attachment import Attachment
from inferloom_gateway.calls.attach.demultiplexer import LoadListener
from inferloom_gateway.calls.attach.dialer import Dialer
from inferloom_gateway.calls.attach.dialing import Dialing
from inferloom_gateway.calls.attach.grpc_stream import GrpcStream
from inferloom_gateway.calls.attach.link_call import BYTES, EVENTS, KINDS, CallRequest, LinkCall
from inferloom_gateway.calls.attach.stream import FrameStream
from inferloom_gateway.calls.attach.tcp_stream import TcpStream
from inferloom_gateway.calls.gathering import Gathering
from inferloom_gateway.calls.grpc_link import GrpcLink
from inferloom_gateway.calls.link import CallSink, RunningCall, UnaryRequest
from inferloom_mesh.backoff import backoff
from inferloom_mesh.context import CallContext

if TYPE_CHECKING:
    from inferloom.v1.link_pb2_grpc import LinkServiceAsyncStub

log = logging.getLogger(__name__)


class AttachLink:
    """A :class:`~inferloom_gateway.calls.link.WorkerLink` that is attached from :meth:`attach`, or its first
    call, on. When its stream has ended it attaches again, a little later or at the next call.

    A worker that has a port for it is attached there, by :class:`~.tcp_stream.TcpStream`. Until that is open,
    and while it cannot be opened, which is tried again and again, calls go on gRPC's Attach: none waits for a
    connection that may never come. Once it is open the other stream ends with its last call.

    A worker that has no such streams, which is remembered, is called by ``calls``, and so is one for a
    request that is larger than it takes on them.

    Args:
        address: The worker's ``host:port``.
        calls: Makes single calls, on the channel that gRPC's stream is on too.
        clock: The clock of the contexts' deadlines.
        on_load: Is told of the worker's load.
        gathering: Runs while a frame is taken in.
        dialer: Opens connections of the link's own. None: there are none.
        link_address: Where the worker takes them now; empty: nowhere.
    """

    def __init__(
        self,
        address: str,
        calls: GrpcLink,
        clock: Callable[[], float] = time.monotonic,
        on_load: LoadListener = lambda _: None,
        gathering: Gathering | None = None,
        dialer: Dialer | None = None,
        link_address: Callable[[], str] = lambda: "",
    ) -> None:
        self._address = address
        self._calls = calls
        self._clock = clock
        self._on_load = on_load
        self._gathering = Gathering() if gathering is None else gathering
        stub: LinkServiceAsyncStub = LinkServiceStub(calls.channel)
        self._attach = stub.Attach
        self._attached: Attachment | None = None
        self._direct: Attachment | None = None
        """That on a connection of its own."""
        self._retired: dict[asyncio.Task[None], Attachment] = {}
        self._callwise = self._closed = False
        self._waits = backoff()
        self._again: asyncio.TimerHandle | None = None
        self._dialing = Dialing(dialer, link_address, address, self._open, self._unreached)

    @property
    def transport(self) -> str:
        """What carries calls now: a connection of the link's own, gRPC's Attach, or a call for each."""
        if self._direct is not None:
            return "tcp"
        return "call" if self._callwise else "grpc"

    def attach(self) -> None:
        """Open the stream, so that the worker tells of its load and the first call need not wait for it. One
        that is attached by gRPC is tried at its own port, which it may have by now."""
        if self._direct is None and not self._closed and not self._dialing.begin():
            self._attach_by_grpc()

    def generate(
        self, request: pb.GenerateRequest, context: CallContext, sink: CallSink[pb.GenerateResponse]
    ) -> RunningCall:
        """Start a generation."""
        return self._start(request, context, sink, partial(self._calls.generate, request, context, sink))

    def embed(
        self, request: pb.EmbedRequest, context: CallContext, sink: CallSink[pb.EmbedResponse]
    ) -> RunningCall:
        """Start an embedding."""
        return self._start(request, context, sink, partial(self._calls.embed, request, context, sink))

    def unary(self, request: UnaryRequest, context: CallContext, sink: CallSink[Any]) -> RunningCall:
        """Start a call that has one response."""
        return self._start(request, context, sink, partial(self._calls.unary, request, context, sink))

    async def probe(self, timeout_s: float) -> bool:
        """Ask for the worker's health; whether it gave any answer."""
        return await self._calls.probe(timeout_s)

    async def close(self, grace_s: float | None) -> None:
        """Close the stream and its channel once their calls have ended, after ``grace_s`` at the latest;
        None: at once."""
        began, self._closed = self._clock(), True
        if self._again is not None:
            self._again.cancel()
        self._dialing.cancel()

        def left() -> float | None:
            return None if grace_s is None else max(0.0, grace_s - (self._clock() - began))

        if self._attached is not None:
            await self._attached.close(grace_s)
        if self._retired:
            await asyncio.wait(tuple(self._retired), timeout=left() or 0.0)
            late = tuple(self._retired.items())
            for task, _ in late:
                task.cancel()
            await asyncio.gather(*(attachment.close(None) for _, attachment in late))
        await self._calls.close(left())

    def _start(
        self,
        request: CallRequest,
        context: CallContext,
        sink: CallSink[Any],
        alone: Callable[[], RunningCall],
    ) -> RunningCall:
        if self._direct is None and not self._closed:
            self._dialing.begin()
        if self._callwise and self._direct is None:
            return alone()
        start, now = link_pb2.StartCall(events=EVENTS, bytes=BYTES), self._clock()
        context.fill(start.context, now)
        getattr(start, KINDS[type(request)]).CopyFrom(request)
        self._attach_by_grpc()
        attached = self._attached
        if attached is None:  # its line is being closed
            return alone()
        start.call = attached.number()
        call = LinkCall(start.call, request, sink, attached, alone)
        if (left := context.time_left(now)) is not None:
            call.due(left)
        attached.start(call, start)
        return call

    def _attach_by_grpc(self) -> None:
        if self._attached is None and not (self._callwise or self._closed):
            self._attached = self._attachment(
                GrpcStream(self._attach(metadata=self._calls.peer), self._address)
            )

    def _attachment(self, stream: FrameStream) -> Attachment:
        return Attachment(stream, self._address, self._on_load, self._ended, self._gathering)

    def _open(self, stream: TcpStream) -> None:
        """Use a connection of its own from now on."""
        before = self._attached
        self._attached = self._direct = self._attachment(stream)
        if before is not None:
            retired = asyncio.create_task(before.retire())
            self._retired[retired] = before
            retired.add_done_callback(self._retired.pop)
        if self._closed:
            stream.cancel()

    def _unreached(self) -> None:
        """Such a connection is not to be had for now, or not soon."""
        self._attach_by_grpc()

    def _ended(self, attached: Attachment) -> None:
        current = self._attached is attached
        if current:
            self._attached = None
        if self._direct is attached:
            self._direct = None
            if self._dialing.lost():
                self._waits = backoff()
        elif attached.heard:
            self._waits = backoff()
        if attached.refused and not self._callwise:
            self._callwise = True
            log.info("the worker at %s has no multiplexed link: it is called by single calls", self._address)
        if current and not (self._callwise or self._closed):
            if self._again is not None:
                self._again.cancel()
            self._again = asyncio.get_running_loop().call_later(next(self._waits), self.attach)
