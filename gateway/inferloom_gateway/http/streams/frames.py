"""The events of a resumable stream as server-sent events."""

from collections.abc import AsyncGenerator

from inferloom.v1.inference_pb2 import Usage
from inferloom_gateway.http.errors import render
from inferloom_gateway.http.event_bytes import encode
from inferloom_gateway.http.sse import KEEP_ALIVE, after, framed
from inferloom_gateway.http.streams.kept import planned
from inferloom_gateway.http.translate.usage import total
from inferloom_gateway.storage.streams import KeptStream
from inferloom_gateway.streams.follower import Follower
from inferloom_gateway.streams.generation import read
from inferloom_mesh.errors import InferloomError


async def frames(follower: Follower, kept: KeptStream, last: int) -> AsyncGenerator[bytes, None]:
    """Those behind the ``last`` that its reader has.

    All events go through new encoders from the first on, so that chunks and their ids are always the same.

    Args:
        follower: Reads from the first event on.
        kept: The stream.
        last: The id of the last event that its reader has; -1: he has none.
    """
    encoders = [part.encoder for part in planned(kept).parts]
    number, usages = 0, list[Usage]()
    while (events := await follower.read()) is not None:
        if not events:
            yield KEEP_ALIVE
        pieces = []
        for data in events:
            place, event = read(data, len(encoders))
            if event.HasField("completed"):
                usages.append(event.completed.usage)
            else:
                pieces.append(encode(event, encoders[place]))
        made, number = after(b"".join(pieces), number, last)
        if made:
            yield made
    yield after(encoders[0].end(total(usages)), number, last)[0]


def failed(error: InferloomError) -> bytes:
    """The last event of a stream that cannot go on."""
    return framed(render(error))
