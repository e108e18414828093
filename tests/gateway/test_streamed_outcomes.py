"""What ends with a response that is streamed, ends with what its client is told."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from inferloom_gateway.http import event_stream
from inferloom_gateway.http.event_stream import EventStream
from inferloom_gateway.http.exchange import Exchange, exchange_of
from inferloom_gateway.http.json_stream import JsonStream
from inferloom_gateway.http.sse import KEEP_ALIVE
from inferloom_gateway.http.stack import Stack
from inferloom_gateway.http.streamed import StreamedResponse
from inferloom_mesh.errors import InferloomError, Reason

LOST = InferloomError(Reason.WORKER_LOST, "Lost.")


class Calls:
    """What is on the stack, as a call group is."""

    def __init__(self) -> None:
        self.ended: BaseException | None = None

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended = error


async def sent(pieces: AsyncGenerator[bytes, None], make: Any, silence_s: float | None = None) -> Any:
    """Send a response of such pieces: how its calls ended, its exchange, and what its client got."""
    calls, messages, seen = Calls(), list[Message](), list[Exchange]()

    async def open_pieces(stack: ExitStack) -> AsyncGenerator[bytes, None]:
        stack.enter_context(calls)
        return pieces

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        exchange.silence_s = silence_s
        seen.append(exchange)
        response: StreamedResponse = make(open_pieces)
        await response(scope, receive, send)

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        messages.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    await Stack(app, [], [])(scope, receive, send)
    return calls.ended, seen[0].error, b"".join(message.get("body", b"") for message in messages[1:])


async def breaking(failure: Exception) -> AsyncGenerator[bytes, None]:
    """A piece, and no other."""
    yield b"data: 1\n\n"
    raise failure


def events(open_pieces: Any) -> EventStream:
    """Server-sent events."""
    return EventStream(open_pieces, lambda error: f"data: {error.reason}\n\n".encode(), {}, None)


async def test_a_stream_of_events_that_fails() -> None:
    """With the error that its last event tells."""
    ended, error, body = await sent(breaking(LOST), events)
    assert ended is LOST
    assert (error, body) == (Reason.WORKER_LOST, b"data: 1\n\ndata: WORKER_LOST\n\n")


async def test_a_bug_amid_a_stream() -> None:
    """The client is told that it is ours, and so is the record."""
    ended, error, body = await sent(breaking(ZeroDivisionError()), events)
    assert isinstance(ended, InferloomError)
    assert (ended.reason, error) == (Reason.SERVER_ERROR, Reason.SERVER_ERROR)
    assert body.endswith(b"data: SERVER_ERROR\n\n")


async def test_a_stream_that_is_silent_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no client that left."""
    times = iter(range(100))
    monkeypatch.setattr(event_stream, "monotonic", lambda: float(next(times)))

    async def silent() -> AsyncGenerator[bytes, None]:
        while True:
            yield KEEP_ALIVE

    ended, error, body = await sent(silent(), events, silence_s=3)
    assert isinstance(ended, InferloomError)
    assert (ended.reason, error, body) == (Reason.TIMEOUT, Reason.TIMEOUT, b"data: TIMEOUT\n\n")


async def test_a_body_that_is_broken_off() -> None:
    """Nothing ends it."""
    ended, error, body = await sent(breaking(LOST), whole_body)
    assert ended is LOST
    assert (error, body) == (Reason.WORKER_LOST, b"data: 1\n\n")


def whole_body(open_pieces: Any) -> JsonStream:
    """A body."""
    return JsonStream(open_pieces, {})


async def test_one_that_ends_well() -> None:
    """So does what is on the stack."""

    async def whole() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"

    assert await sent(whole(), events) == (None, None, b"data: 1\n\n")
