"""A stream of the contract's messages as a response."""

from collections.abc import AsyncGenerator

from starlette.types import Scope, Send

from inferloom_gateway.http.rpc.wire import STREAMED, Wire
from inferloom_gateway.http.streamed import Opener, StreamedResponse
from inferloom_mesh.errors import InferloomError
from inferloom_mesh.interceptor import told


class MessageStream(StreamedResponse):
    """Sends messages as they come, and the end that their protocol has, which tells of a failure."""

    def __init__(self, open: Opener, wire: Wire) -> None:
        super().__init__(open, {"content-type": wire.media_type, **STREAMED})
        self._wire = wire

    async def _send(self, pieces: AsyncGenerator[bytes, None], scope: Scope, send: Send) -> bytes:
        try:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except InferloomError:
            raise
        except Exception as failure:
            raise told(failure, scope["path"]) from failure
        return self._wire.end(None)

    def _broken(self, failure: InferloomError) -> bytes:
        return self._wire.end(failure)
