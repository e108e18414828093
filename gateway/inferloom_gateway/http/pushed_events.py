"""A response of server-sent events that are written in the moment in which their generations make them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from time import monotonic

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from inferloom.v1.inference_pb2 import GenerateResponse, Usage
from inferloom_gateway.calls.call_group import GenerateStream
from inferloom_gateway.calls.tokens import Tokens
from inferloom_gateway.http import sse
from inferloom_gateway.http.disconnect import AbortOnDisconnect, ClientDisconnectedError
from inferloom_gateway.http.event_bytes import encode
from inferloom_gateway.http.exchange import exchange_of
from inferloom_gateway.http.sink import Sink, sink_of
from inferloom_gateway.http.sse import KEEP_ALIVE
from inferloom_gateway.http.translate.plan import Encoder
from inferloom_gateway.http.translate.usage import total
from inferloom_mesh.errors import InferloomError

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    *((name.encode(), value.encode()) for name, value in sse.HEADERS.items()),
]
"""Of every such response."""

OpenStreams = Callable[[ExitStack], Awaitable[Sequence[GenerateStream]]]
"""Starts the generations; what must be closed at the end goes on the stack."""


class PushedEvents(Response):
    """Streams what generations make, as :class:`~inferloom_gateway.http.event_stream.EventStream` sends it.

    No task is woken for an event: whoever reads from the worker writes to the client's connection, where that
    can be written to directly. While its client does not read, nothing more is wanted of the workers.

    Args:
        open: What it raises becomes an ordinary error response.
        encoders: One for each generation.
        headers: The response's, besides those of every stream.
        first: The number of the first event. None: events have no ids.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        open: OpenStreams,
        encoders: Sequence[Encoder],
        headers: Mapping[str, str],
        first: int | None = 0,
    ) -> None:
        # The base's own way to its headers costs more than the response's first event.
        self.status_code, self.background, self.body = 200, None, b""
        self.raw_headers = [*_HEADERS]
        for name, value in headers.items():
            self.raw_headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
        self._open = open
        self._encoders = encoders
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        sink = sink_of(scope)
        out: _Out | None = None
        last: bytes | None = None
        try:
            async with AbortOnDisconnect(receive, sink.direct):
                with ExitStack() as stack:
                    streams = await self._open(stack)
                    out = _Out(sink, streams, self._encoders[0], self._first)
                    with sink.together():
                        await send(
                            {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                        )
                        out.begin(self._encoders)
                    try:
                        last = await out.run()
                    finally:
                        sink.hear(None)
                    if out.failure is not None:
                        raise out.failure  # what is on the stack ends with it
        except ClientDisconnectedError:
            exchange_of(scope).left = True
            return
        except InferloomError as failure:
            if out is None or failure is not out.failure:
                raise
            exchange_of(scope).error = failure.reason
        if last is not None:
            await send({"type": "http.response.body", "body": last, "more_body": False})


class _Out:
    """The way of the events of one response to its client, whose pace is that of the generations."""

    def __init__(
        self, sink: Sink, streams: Sequence[GenerateStream], encoder: Encoder, first: int | None
    ) -> None:
        self._sink = sink
        self._streams = streams
        self._encoder = encoder
        self._number = first
        self._write_now = sink.writer
        """Writes to the client's connection; None: where that cannot be written to."""
        self._silent_since: float | None = None
        """Since when nothing was sent."""
        self._quiet_since: float | None = None
        """Since when nothing came, comments apart."""
        self.failure: InferloomError | None = None
        """What the client is told instead of the rest."""
        self._running = len(streams)
        self._usages: list[Usage] = []
        self._last: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        """The bytes of the last event; None: they have been sent."""
        self._waiting: deque[bytes] = deque()
        self._wake = asyncio.Event()

    def begin(self, encoders: Sequence[Encoder]) -> None:
        """Send what there is, and from now on what comes."""
        self._sink.hear(self)
        for stream, encoder in zip(self._streams, encoders, strict=True):
            stream.push_to(_Generation(encoder, self))

    async def run(self) -> bytes | None:
        """Wait until all has come; return the bytes of the last event, where that is still to be sent."""
        if self._write_now is None:
            await self._pump()
        last = await self._last
        return None if last is None else self._sink.told(last)

    def frames(self, piece: bytes) -> None:
        """Send events."""
        self._silent_since = self._quiet_since = None
        if self._number is not None:
            piece, self._number = sse.numbered(piece, self._number)
        if self._write_now is None:
            self._write_later(piece)
        elif not self._last.done():
            self._write_now(piece)

    def waiting(self) -> None:
        """Show that the stream is alive, if it has been silent for long."""
        now = monotonic()
        self._quiet_since = now if self._quiet_since is None else self._quiet_since
        limit = self._sink.exchange.silence_s
        if limit is not None and now - self._quiet_since >= limit:
            self.ended(sse.too_silent(limit))
            return
        since = self._silent_since = now if self._silent_since is None else self._silent_since
        if now - since >= sse.SILENCE_S:
            self._silent_since = None
            if self._write_now is None:
                self._write_later(KEEP_ALIVE)
            elif not self._last.done():
                self._write_now(KEEP_ALIVE)

    def completed(self, usage: Usage) -> None:
        """Note what a generation used."""
        self._usages.append(usage)

    def ended(self, error: InferloomError | None) -> None:
        """Note that a generation is over; one that failed fails all."""
        self._running -= 1
        if self._last.done():
            return  # another one failed, or the client has left
        if error is not None:
            self.failure = error
            self._end(self._encoder.failed(error))
        elif self._running == 0:
            usage = self._usages[0] if len(self._usages) == 1 else total(self._usages)
            last = self._encoder.end(usage)
            self._end(last if self._number is None else sse.numbered(last, self._number)[0])

    def _end(self, last: bytes) -> None:
        """End the response: at once, so that what a frame brought of its end is one write."""
        if self._write_now is None:
            self._last.set_result(last)
            self._wake.set()
        else:
            self._sink.write_last(last)
            self._last.set_result(None)

    # flow

    def pause(self) -> None:
        """The client does not read."""
        for stream in self._streams:
            stream.pause()

    def resume(self) -> None:
        """It reads again."""
        for stream in self._streams:
            stream.resume()

    def _write_later(self, piece: bytes) -> None:
        if not self._waiting:
            self.pause()
        self._waiting.append(piece)
        self._wake.set()

    async def _pump(self) -> None:
        """Send what waits, where it cannot be written directly."""
        while True:
            while self._waiting:
                await self._sink.frame(self._waiting.popleft())
                if not self._waiting:
                    self.resume()
            if self._last.done():
                return
            self._wake.clear()
            await self._wake.wait()


class _Generation:
    """Takes the events of one generation."""

    __slots__ = ("_encoder", "_out")

    def __init__(self, encoder: Encoder, out: _Out) -> None:
        self._encoder = encoder
        self._out = out

    def take(self, event: GenerateResponse) -> None:
        """Send an event."""
        if event.HasField("completed"):
            self._out.completed(event.completed.usage)
            return
        piece = encode(event, self._encoder)
        if piece is KEEP_ALIVE:
            self._out.waiting()
        elif piece:
            self._out.frames(piece)

    def tokens(self, tokens: Tokens) -> None:
        """Send a Delta."""
        if piece := self._encoder.tokens(tokens):
            self._out.frames(piece)

    def end(self, error: InferloomError | None) -> None:
        """Note the end."""
        self._out.ended(error)
