"""The events of a response in background, for who comes later: those that were, and those still to come."""

from collections.abc import AsyncGenerator
from contextlib import ExitStack

from inferloom_gateway.http.responses.ending import kind_of
from inferloom_gateway.http.responses.frames import Numbering, error_frame
from inferloom_gateway.http.responses.watch import Watch, Watches
from inferloom_gateway.http.sse import KEEP_ALIVE, framed
from inferloom_gateway.http.translate.responses.document import Document
from inferloom_gateway.http.translate.responses.replay import last_event
from inferloom_gateway.storage.runs import Chunk
from inferloom_mesh.errors import InferloomError

_PATIENCE_S = 0.5
"""How long nothing comes until a piece says so."""

_LAST = frozenset({"response.completed", "response.incomplete", "response.failed"})


class Follower:
    """Follows one response in background.

    Args:
        watches: Who follows responses.
        tenant: Whose it is.
        name: The response.
        after: The number of the last event that is not wanted.
    """

    def __init__(self, watches: Watches, tenant: str, name: str, after: int) -> None:
        self._watches = watches
        self._tenant = tenant
        self._name = name
        self._after = after

    def open(self, stack: ExitStack) -> AsyncGenerator[bytes, None]:
        """The events, until the last; they raise InferloomError if the response is gone.

        Raises:
            InferloomError: As many follow as may.
        """
        return self._frames(stack.enter_context(self._watches.watching(self._tenant, self._name)))

    async def _frames(self, watch: Watch) -> AsyncGenerator[bytes, None]:
        while True:
            news = await watch.news(self._after)
            if news.over is not None:
                if (end := self._end(news.over, news.last)) is not None:
                    yield end
                return
            if news.chunks:
                yield b"".join(self._framed(chunk) for chunk in news.chunks)
            while not await watch.more(self._after, _PATIENCE_S):
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
