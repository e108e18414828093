"""The events of a response in background, for who comes later: those that were, and those still to come."""

import asyncio
from collections.abc import AsyncGenerator

from inferloom_gateway.http.responses.ending import kind_of
from inferloom_gateway.http.responses.frames import Numbering, error_frame
from inferloom_gateway.http.responses.under_way import UnderWay
from inferloom_gateway.http.sse import KEEP_ALIVE, framed
from inferloom_gateway.http.translate.responses.document import Document
from inferloom_gateway.http.translate.responses.replay import last_event
from inferloom_gateway.storage.runs import Chunk
from inferloom_mesh.errors import InferloomError

EVERY_S = 0.1
"""How often the store is asked for news."""

_LAST = frozenset({"response.completed", "response.incomplete", "response.failed"})


class Follower:
    """Follows one response in background.

    Args:
        under_way: Where it is told.
        tenant: Whose it is.
        name: The response.
        after: The number of the last event that is not wanted.
    """

    def __init__(self, under_way: UnderWay, tenant: str, name: str, after: int) -> None:
        self._under_way = under_way
        self._tenant = tenant
        self._name = name
        self._after = after

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """The events, until the last. Raises InferloomError if the response is gone."""
        while True:
            news = await self._under_way.news(self._tenant, self._name, self._after)
            if news.over is not None:
                if (end := self._end(news.over, news.last)) is not None:
                    yield end
                return
            if news.chunks:
                yield b"".join(self._framed(chunk) for chunk in news.chunks)
                continue
            await asyncio.sleep(EVERY_S)
            yield KEEP_ALIVE

    @property
    def next(self) -> int:
        """The number of the next event."""
        return self._after + 1

    def failed(self, error: InferloomError) -> bytes:
        """The end of a stream that cannot go on."""
        return error_frame(error, self.next)

    def _end(self, over: Document, last: tuple[int, str] | None) -> bytes | None:
        """The last event of a response that was given up: nobody was there to tell it."""
        number, kind = last or (-1, "")
        if kind in _LAST or self._after > number:
            return None
        return Numbering(number + 1).frames([last_event(over)])

    def _framed(self, chunk: Chunk) -> bytes:
        self._after = chunk.first + len(chunk.lines) - 1
        return b"".join(framed(line, kind_of(line)) for line in chunk.lines)
