"""A response that is a stream of server-sent events."""

import logging
from collections.abc import AsyncGenerator, Callable, Mapping

from starlette.types import Scope, Send

from inferloom_gateway.http.sink import sink_of
from inferloom_gateway.http.streamed import Opener, StreamedResponse
from inferloom_mesh.errors import InferloomError, server_error

log = logging.getLogger(__name__)


class EventStream(StreamedResponse):
    """Sends events as they come.

    A failure after the first is one last event, which ``failed`` makes, and no ``[DONE]``.
    """

    media_type = "text/event-stream"

    def __init__(
        self, open: Opener, failed: Callable[[InferloomError], bytes], headers: Mapping[str, str]
    ) -> None:
        super().__init__(open, {**headers, "cache-control": "no-cache", "x-accel-buffering": "no"})
        self._failed = failed

    async def _send(self, pieces: AsyncGenerator[bytes, None], scope: Scope, send: Send) -> bytes:
        sink = sink_of(scope)
        try:
            async for piece in pieces:
                await sink.frame(piece)
        except InferloomError as failure:
            error = failure
        except Exception:  # the status is sent: this is the last place where the client can be told
            log.exception("unexpected failure in a stream")
            error = server_error()
        else:
            return b""
        return self._failed(error)
