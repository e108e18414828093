"""A response that is a stream of server-sent events."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import ExitStack, aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from inferloom_gateway.http.disconnect import AbortOnDisconnect, ClientDisconnectedError
from inferloom_gateway.http.exchange import exchange_of
from inferloom_gateway.http.sink import Sink, sink_of
from inferloom_mesh.errors import InferloomError, server_error

log = logging.getLogger(__name__)

Opener = Callable[[ExitStack], Awaitable[AsyncGenerator[bytes, None]]]
"""Starts the work and returns its pieces; what must be closed at the end goes on the stack."""


class EventStream(Response):
    """Sends pieces as they come.

    The status is held back until ``open`` has returned: what it raises becomes an ordinary error response. A
    failure after that is one last event, which ``failed`` makes, and no ``[DONE]``. A client that leaves ends
    the work at once.
    """

    media_type = "text/event-stream"

    def __init__(
        self, open: Opener, failed: Callable[[InferloomError], bytes], headers: Mapping[str, str]
    ) -> None:
        super().__init__(headers={**headers, "cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._open = open
        self._failed = failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            async with AbortOnDisconnect(receive):
                with ExitStack() as stack:
                    async with aclosing(await self._open(stack)) as pieces:
                        last = await self._send(pieces, sink_of(scope))
        except ClientDisconnectedError:
            exchange_of(scope).left = True
            return
        await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _send(self, pieces: AsyncGenerator[bytes, None], sink: Sink) -> bytes:
        """Send the head and all pieces; return what is still to be said."""
        await sink.send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
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
