"""Events that are written in the moment in which they come."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.tokens import Tokens
from inferloom_gateway.http import pushed_events, sse
from inferloom_gateway.http.exchange import Exchange, exchange_of
from inferloom_gateway.http.pushed_events import PushedEvents
from inferloom_gateway.http.sink import DIRECT
from inferloom_gateway.http.stack import Stack
from inferloom_gateway.http.translate.reports import Reports
from inferloom_gateway.http.translate.text_chunks import TextChunks
from inferloom_mesh.errors import InferloomError, Reason, invalid
from tests.patience import PATIENCE_S

STARTED = pb.GenerateResponse(started=pb.Started(prompt_tokens=3))
COMPLETED = pb.GenerateResponse(completed=pb.Completed(usage=pb.Usage(prompt_tokens=3, completion_tokens=2)))


class Scripted:
    """A stream whose events a test pushes."""

    def __init__(self) -> None:
        self.sink: Any = None
        self.paused = False
        self.named = asyncio.Event()

    def push_to(self, sink: Any) -> None:
        self.sink = sink
        self.named.set()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


class Connection:
    """One that can be written to, whose client reads or does not."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.flow: Any = None
        self.last = b""
        """What ended the response."""
        self.on_left: Any = None

    def write_part(self, data: bytes) -> None:
        self.parts.append(data)

    def write_last(self, data: bytes) -> None:
        self.last = data

    def together(self) -> AbstractContextManager[None]:
        return nullcontext()

    def when_left(self, act: Any) -> None:
        self.on_left = act

    def hear(self, flow: Any) -> None:
        self.flow = flow


class Heard:
    """A listener."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def frame(self, exchange: Exchange, data: bytes) -> None:
        self.frames.append(data)


class Response:
    """A response of ``count`` generations that is being sent."""

    def __init__(self, count: int = 1, connection: Connection | None = None, first: int | None = 0) -> None:
        self.streams = [Scripted() for _ in range(count)]
        self.heard = Heard()
        self.messages: list[Message] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failed: BaseException | None = None
        """What its calls ended with."""
        self._encoders = [
            TextChunks("a", "m", 1, index, [], Reports(usage=True), echo=False) for index in range(count)
        ]
        stack = Stack(self._app, [], [self.heard])
        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/", "headers": []}
        if connection is not None:
            scope[DIRECT] = connection
        self._first = first
        self._connection = connection
        self.task = asyncio.create_task(stack(scope, self._receive, self._send))

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.exchange = exchange_of(scope)

        async def open_all(stack: ExitStack) -> Sequence[Any]:
            stack.push(self._closed)
            return self.streams

        await PushedEvents(open_all, self._encoders, {}, self._first)(scope, receive, send)

    def _closed(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.failed = error

    async def _receive(self) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def _send(self, message: Message) -> None:
        self.messages.append(message)
        await self.gate.wait()

    async def begun(self) -> list[Any]:
        """Wait until it takes events; return where they go."""
        async with asyncio.timeout(PATIENCE_S):
            for stream in self.streams:
                await stream.named.wait()
        return [stream.sink for stream in self.streams]

    async def ended(self) -> bytes:
        """Wait for the end; return what ended it, and without a direct connection all that was sent."""
        async with asyncio.timeout(PATIENCE_S):
            await self.task
        sent = b"".join(message.get("body", b"") for message in self.messages)
        return sent if self._connection is None else self._connection.last


async def test_each_event_is_one_write_and_is_told_once() -> None:
    """With its number; what ends the stream goes with the response's end, and nothing is awaited before."""
    connection = Connection()
    response = Response(connection=connection)
    (sink,) = await response.begun()
    sink.take(STARTED)
    for index, text in enumerate(("ab", "", "é\n")):
        sink.tokens(Tokens(0, index, [1], text))
    sink.take(pb.GenerateResponse(delta=pb.Delta(text="c")))
    assert [part.partition(b"\n")[0] for part in connection.parts] == [b"id: 0", b"id: 1", b"id: 2"]
    assert '"text":"é\\n"'.encode() in connection.parts[1]
    sink.take(COMPLETED)
    sink.end(None)
    last = connection.last
    assert last.startswith(b"id: 3\ndata: ")
    assert last.endswith(sse.DONE)
    assert response.heard.frames == [*connection.parts, last]
    await response.ended()
    assert connection.flow is None
    assert connection.on_left is None


async def test_a_client_that_does_not_read_pauses_its_streams() -> None:
    """And the one that reads again resumes them; what comes meanwhile is not lost."""
    connection = Connection()
    response = Response(2, connection)
    sinks = await response.begun()
    connection.flow.pause()
    assert [stream.paused for stream in response.streams] == [True, True]
    sinks[1].tokens(Tokens(0, 0, [1], "late"))
    assert b"late" in connection.parts[0]
    connection.flow.resume()
    assert [stream.paused for stream in response.streams] == [False, False]
    response.task.cancel()


async def test_without_a_direct_connection_events_wait_for_the_servers_own() -> None:
    """A few at a time: while one is being sent, nothing more is wanted."""
    response = Response()
    (sink,) = await response.begun()
    response.gate.clear()
    (stream,) = response.streams
    for index in range(3):
        sink.tokens(Tokens(0, index, [1], f"t{index}"))
    assert stream.paused
    response.gate.set()
    sink.take(COMPLETED)
    sink.end(None)
    sent = await response.ended()
    assert [b"t%d" % index in sent for index in range(3)] == [True] * 3
    assert sent.endswith(sse.DONE)
    assert not stream.paused


async def test_one_generation_that_fails_ends_the_stream() -> None:
    """With its error, which has no number, and no [DONE]; whatever the others still say. It is what they all
    end with."""
    connection, failure = Connection(), invalid("p", "No.")
    response = Response(2, connection)
    first, second = await response.begun()
    first.tokens(Tokens(0, 0, [1], "a"))
    second.end(failure)
    first.tokens(Tokens(0, 1, [1], "b"))
    first.end(None)
    last = await response.ended()
    assert last.startswith(b'data: {"error"')
    assert b"[DONE]" not in last
    assert len(connection.parts) == 1
    assert response.failed is failure
    assert response.exchange.error is failure.reason


@pytest.mark.parametrize("direct", [True, False])
async def test_a_stream_that_tells_nothing_for_too_long_has_failed(
    direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client is told so, and has not left."""
    now = 0.0
    monkeypatch.setattr(pushed_events, "monotonic", lambda: now)
    response = Response(connection=Connection() if direct else None)
    (sink,) = await response.begun()
    response.exchange.silence_s = 5.0
    for now in (0.0, 4.0, 5.0):  # noqa: B007 # the clock reads it
        sink.take(pb.GenerateResponse(heartbeat=pb.Heartbeat()))
    assert b"Nothing has come" in await response.ended()
    assert isinstance(response.failed, InferloomError)
    assert (response.failed.reason, response.exchange.error) == (Reason.TIMEOUT, Reason.TIMEOUT)


async def test_a_client_that_leaves_ends_its_generations() -> None:
    """What was under way is closed, and the response is not said to be one."""
    connection = Connection()
    response = Response(connection=connection)
    await response.begun()
    connection.on_left()
    assert await response.ended() == b""
    assert connection.on_left is None


async def test_usages_of_several_generations_are_added() -> None:
    """The stream ends with the last of them."""
    response = Response(2, Connection(), first=None)
    for sink in await response.begun():
        sink.take(COMPLETED)
        sink.end(None)
    last = await response.ended()
    assert b'"prompt_tokens":6' in last
    assert last.startswith(b"data: ")


@pytest.mark.parametrize("direct", [True, False])
async def test_comments_are_sent_in_long_silences(direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 15 s, and again after as many; an event ends a silence."""
    now = 0.0
    monkeypatch.setattr(pushed_events, "monotonic", lambda: now)
    connection = Connection() if direct else None
    response = Response(connection=connection, first=None)
    (sink,) = await response.begun()
    heartbeat = pb.GenerateResponse(heartbeat=pb.Heartbeat())
    for now in (0.0, 10.0, 15.0, 20.0, 34.0, 35.0):  # noqa: B007 # the clock reads it
        sink.take(heartbeat)
    sink.tokens(Tokens(0, 0, [1], "a"))
    now = 40.0
    sink.take(heartbeat)
    sink.end(None)
    sent = await response.ended()
    parts = b"".join(connection.parts) if connection is not None else sent
    assert parts.count(sse.KEEP_ALIVE) == 2
