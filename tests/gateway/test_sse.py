"""Server-sent events: numbers as ids, and comments in long silences only."""

from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from openai._streaming import ServerSentEvent, SSEDecoder
from starlette.types import Receive, Scope, Send

from inferloom_gateway.http import event_stream, sse
from inferloom_gateway.http.event_stream import EventStream
from inferloom_gateway.http.stack import Stack
from inferloom_mesh.errors import InferloomError, invalid

ONE = sse.frame({"a": 1})


def read(raw: bytes) -> list[ServerSentEvent]:
    """What OpenAI's decoder makes of it, fed byte by byte."""
    return list(SSEDecoder().iter_bytes(iter([raw[i : i + 1] for i in range(len(raw))])))


@pytest.mark.parametrize(
    ("frames", "made", "following"),
    [
        (ONE, b"id: 7\n" + ONE, 8),
        (sse.frame({}, "kind"), b"id: 7\nevent: kind\ndata: {}\n\n", 8),
        (ONE + ONE, b"id: 7\n" + ONE + b"id: 8\n" + ONE, 9),
        (ONE + sse.DONE, b"id: 7\n" + ONE + sse.DONE, 8),
        (sse.DONE, sse.DONE, 7),
    ],
)
def test_every_event_but_the_end_has_its_number(frames: bytes, made: bytes, following: int) -> None:
    """However many come together."""
    assert sse.numbered(frames, 7) == (made, following)


async def sent(
    pieces: list[bytes], clock: Callable[[], float], monkeypatch: pytest.MonkeyPatch, **how: Any
) -> bytes:
    """What a client gets of a stream of pieces; it fails at one that is empty."""
    monkeypatch.setattr(event_stream, "monotonic", clock)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def events(stack: ExitStack) -> AsyncGenerator[bytes, None]:
            async def each() -> AsyncGenerator[bytes, None]:
                for piece in pieces:
                    if not piece:
                        raise invalid("p", "No.")
                    yield piece

            return each()

        def failed(error: InferloomError) -> bytes:
            return sse.frame({"error": error.message})

        await EventStream(events, failed, {}, **how)(scope, receive, send)

    transport = httpx.ASGITransport(Stack(app, ()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return (await client.get("/")).content


async def test_a_comment_is_sent_after_a_long_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sign of life a second is told once in fifteen; an event begins the count anew."""
    seconds = iter(range(1000))
    quiet = [sse.KEEP_ALIVE] * 20
    raw = await sent([ONE, *quiet, ONE, *quiet, ONE], lambda: next(seconds), monkeypatch)
    assert raw == b"id: 0\n%b: waiting\nid: 1\n%b: waiting\nid: 2\n%b" % (ONE, ONE, ONE)
    assert [(event.id, event.json()) for event in read(raw)] == [(str(i), {"a": 1}) for i in range(3)]


async def test_an_error_ends_a_stream_without_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no event that a client goes on from."""
    raw = await sent([ONE, b""], lambda: 0.0, monkeypatch)
    assert raw == b"id: 0\n" + ONE + b'data: {"error":"No."}\n\n'


async def test_ids_begin_where_they_are_told_to_or_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that goes on has the numbers of the one before."""
    assert (await sent([ONE], lambda: 0.0, monkeypatch, first=9)).startswith(b"id: 9\n")
    assert await sent([ONE, sse.DONE], lambda: 0.0, monkeypatch, first=None) == ONE + sse.DONE
