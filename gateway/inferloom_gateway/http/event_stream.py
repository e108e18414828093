"""A response that is a stream of server-sent events."""

import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from time import monotonic

from starlette.types import Scope, Send

from inferloom_gateway.http import sse
from inferloom_gateway.http.sink import sink_of
from inferloom_gateway.http.sse import KEEP_ALIVE
from inferloom_gateway.http.streamed import Opener, StreamedResponse
from inferloom_mesh.errors import InferloomError, server_error

log = logging.getLogger(__name__)


class EventStream(StreamedResponse):
    """Sends events as they come, each with its number as its id.

    A failure after the first is one last event without an id, which ``failed`` makes, and no ``[DONE]``. Of
    the comments that say that nothing has come, those are sent that follow a long silence.

    Args:
        open: As in :class:`StreamedResponse`; its pieces are whole events, or ``KEEP_ALIVE``.
        failed: Makes the last event of a stream that fails.
        headers: The response's, besides those of every stream.
        first: The number of the first event. None: events have no ids.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        open: Opener,
        failed: Callable[[InferloomError], bytes],
        headers: Mapping[str, str],
        first: int | None = 0,
    ) -> None:
        super().__init__(open, {**headers, **sse.HEADERS})
        self._failed = failed
        self._first = first

    async def _send(self, pieces: AsyncGenerator[bytes, None], scope: Scope, send: Send) -> bytes:
        sink, number, silent_since, quiet_since = sink_of(scope), self._first, None, None
        limit = sink.exchange.silence_s
        try:
            async for piece in pieces:
                if piece is KEEP_ALIVE:
                    now = monotonic()
                    silent_since = now if silent_since is None else silent_since
                    quiet_since = now if quiet_since is None else quiet_since
                    if limit is not None and now - quiet_since >= limit:
                        raise sse.too_silent(limit)
                    if now - silent_since < sse.SILENCE_S:
                        continue
                else:
                    quiet_since = None
                    if number is not None:
                        piece, number = sse.numbered(piece, number)
                silent_since = None
                await sink.frame(piece)
        except InferloomError:
            raise
        except Exception as failure:  # the status is sent: only here can the client still be told
            log.exception("unexpected failure in a stream")
            raise server_error() from failure
        return b""

    def _broken(self, failure: InferloomError) -> bytes:
        return self._failed(failure)
