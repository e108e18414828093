"""The events of a resumable stream as server-sent events."""

from collections.abc import AsyncGenerator

from inferloom.v1.inference_pb2 import GenerateResponse, Usage
from inferloom_gateway.http.errors import render
from inferloom_gateway.http.event_bytes import encode
from inferloom_gateway.http.sse import KEEP_ALIVE, after, framed
from inferloom_gateway.http.streams.kept import planned
from inferloom_gateway.storage.streams import KeptStream
from inferloom_gateway.streams.follower import Follower
from inferloom_mesh.errors import InferloomError


async def frames(follower: Follower, kept: KeptStream, last: int) -> AsyncGenerator[bytes, None]:
    """Those behind the ``last`` that its reader has.

    All events go through a new encoder from the first on, so that chunks and their ids are always the same.

    Args:
        follower: Reads from the first event on.
        kept: The stream.
        last: The id of the last event that its reader has; -1: he has none.
    """
    encoder, number, usage = planned(kept).parts[0].encoder, 0, Usage()
    while (events := await follower.read()) is not None:
        if not events:
            yield KEEP_ALIVE
        pieces = []
        for data in events:
            event = GenerateResponse.FromString(data)
            if event.HasField("completed"):
                usage = event.completed.usage
            else:
                pieces.append(encode(event, encoder))
        made, number = after(b"".join(pieces), number, last)
        if made:
            yield made
    yield after(encoder.end(usage), number, last)[0]


def failed(error: InferloomError) -> bytes:
    """The last event of a stream that cannot go on."""
    return framed(render(error))
