"""A JSON body that is sent while it is made."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import ExitStack, aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from inferloom_gateway.http.disconnect import AbortOnDisconnect, ClientDisconnectedError
from inferloom_gateway.http.exchange import exchange_of
from inferloom_mesh.errors import InferloomError

log = logging.getLogger(__name__)

Opener = Callable[[ExitStack], Awaitable[AsyncGenerator[bytes, None]]]
"""Starts the work and returns the parts of the body; what must be closed at the end goes on the stack."""


class JsonStream(Response):
    """Sends the parts of a JSON body as they come, each when the client has room for it.

    The status is held back until ``open`` has returned: what it raises becomes an ordinary error response. A
    failure after that ends the connection in the middle of the body, which every HTTP client takes for a
    broken response and none for a whole one. A client that leaves ends the work at once.
    """

    media_type = "application/json"

    def __init__(self, open: Opener, headers: Mapping[str, str]) -> None:
        super().__init__(headers=dict(headers))
        del self.headers["content-length"]
        self._open = open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            async with AbortOnDisconnect(receive):
                with ExitStack() as stack:
                    async with aclosing(await self._open(stack)) as parts:
                        await send(
                            {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                        )
                        if not await self._send(parts, send):
                            return
        except ClientDisconnectedError:
            exchange_of(scope).left = True
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, parts: AsyncGenerator[bytes, None], send: Send) -> bool:
        """Send all parts; False if they ended early."""
        try:
            async for part in parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        except InferloomError as failure:
            log.warning("a response was broken off: %s", failure.message)
            return False
        return True
