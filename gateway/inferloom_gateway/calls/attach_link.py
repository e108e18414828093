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
from inferloom_gateway.calls.attach.link_call import BYTES, EVENTS, KINDS, CallRequest, LinkCall
from inferloom_gateway.calls.attach.outgoing import LARGEST_START
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

    A worker that has no such streams, which is remembered, is called by ``calls``, and so is every worker for
    a request that is too large for a frame.

    Args:
        address: The worker's ``host:port``.
        calls: Makes single calls, on the channel that the stream is on too.
        clock: The clock of the contexts' deadlines.
        on_load: Is told of the worker's load.
        gathering: Runs while a frame is taken in.
    """

    def __init__(
        self,
        address: str,
        calls: GrpcLink,
        clock: Callable[[], float] = time.monotonic,
        on_load: LoadListener = lambda _: None,
        gathering: Gathering | None = None,
    ) -> None:
        self._address = address
        self._calls = calls
        self._clock = clock
        self._on_load = on_load
        self._gathering = Gathering() if gathering is None else gathering
        stub: LinkServiceAsyncStub = LinkServiceStub(calls.channel)
        self._attach = stub.Attach
        self._attached: Attachment | None = None
        self._callwise = self._closed = False
        self._waits = backoff()
        self._again: asyncio.TimerHandle | None = None

    def attach(self) -> None:
        """Open the stream, so that the worker tells of its load and the first call need not wait for it."""
        if self._attached is None and not (self._callwise or self._closed):
            self._attached = Attachment(
                self._attach(metadata=self._calls.peer),
                self._address,
                self._on_load,
                self._ended,
                self._gathering,
            )

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
        if self._attached is not None:
            await self._attached.close(grace_s)
        left = None if grace_s is None else max(0.0, grace_s - (self._clock() - began))
        await self._calls.close(left)

    def _start(
        self,
        request: CallRequest,
        context: CallContext,
        sink: CallSink[Any],
        alone: Callable[[], RunningCall],
    ) -> RunningCall:
        if self._callwise:
            return alone()
        start, now = link_pb2.StartCall(events=EVENTS, bytes=BYTES), self._clock()
        start.context.CopyFrom(context.message(now))
        getattr(start, KINDS[type(request)]).CopyFrom(request)
        if start.ByteSize() > LARGEST_START:
            return alone()
        self.attach()
        attached = self._attached
        if attached is None:  # its line is being closed
            return alone()
        start.call = attached.number()
        call = LinkCall(start.call, request, sink, attached, alone)
        if (left := context.time_left(now)) is not None:
            call.due(left)
        attached.start(call, start)
        return call

    def _ended(self, attached: Attachment) -> None:
        if self._attached is attached:
            self._attached = None
        if attached.heard:
            self._waits = backoff()
        if attached.refused and not self._callwise:
            self._callwise = True
            log.info("the worker at %s has no multiplexed link: it is called by single calls", self._address)
        if not (self._callwise or self._closed):
            if self._again is not None:
                self._again.cancel()
            self._again = asyncio.get_running_loop().call_later(next(self._waits), self.attach)
