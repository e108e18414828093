"""Streams of events that are not made while they are sent."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack

from fastapi import Response

from inferloom_gateway.http.event_stream import EventStream
from inferloom_gateway.http.responses.follow import Follower
from inferloom_gateway.http.responses.frames import Numbering, error_frame
from inferloom_gateway.http.translate.responses.document import Document
from inferloom_gateway.http.translate.responses.replay import replayed


def follow(follower: Follower, headers: Mapping[str, str] | None = None) -> Response:
    """The events of a response in background, as they become known."""

    async def open_stream(stack: ExitStack) -> AsyncGenerator[bytes, None]:
        return follower.open(stack)

    return EventStream(open_stream, follower.failed, headers or {}, follower.next)


def replay(document: Document) -> Response:
    """The events of a response that was made while its caller waited, told in whole pieces."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        numbering = Numbering()
        for event in replayed(document):
            yield numbering.frames([event])

    async def open_stream(stack: ExitStack) -> AsyncGenerator[bytes, None]:
        return pieces()

    return EventStream(open_stream, lambda error: error_frame(error, 0), {})
