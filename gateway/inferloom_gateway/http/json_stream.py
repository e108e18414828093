"""A JSON body that is sent while it is made."""

import logging
from collections.abc import AsyncGenerator

from starlette.types import Scope, Send

from inferloom_gateway.http.streamed import StreamedResponse
from inferloom_mesh.errors import InferloomError

log = logging.getLogger(__name__)


class JsonStream(StreamedResponse):
    """Sends the parts of a JSON body as they come, each when the client has room for it.

    A failure after the first ends the connection in the middle of the body, which every HTTP client takes for
    a broken response and none for a whole one.
    """

    media_type = "application/json"

    async def _send(self, pieces: AsyncGenerator[bytes, None], scope: Scope, send: Send) -> bytes:
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        return b""

    def _broken(self, failure: InferloomError) -> None:
        log.warning("a response was broken off: %s", failure.message)
