"""A response that is sent while it is made."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import ExitStack, aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from inferloom_gateway.http.disconnect import AbortOnDisconnect, ClientDisconnectedError
from inferloom_gateway.http.exchange import exchange_of
from inferloom_mesh.errors import InferloomError

Opener = Callable[[ExitStack], Awaitable[AsyncGenerator[bytes, None]]]
"""Starts the work and returns the pieces of the body; what must be closed at the end goes on the stack."""


class StreamedResponse(Response, ABC):
    """Sends pieces as they come.

    The status is held back until ``open`` has returned: what it raises becomes an ordinary error response. A
    client that leaves ends the work at once. What is on the stack ends with the error that the client is
    told.
    """

    def __init__(self, open: Opener, headers: Mapping[str, str]) -> None:
        super().__init__(headers=dict(headers))
        del self.headers["content-length"]
        self._open = open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        begun = False
        last: bytes | None = None
        try:
            async with AbortOnDisconnect(receive):
                with ExitStack() as stack:
                    async with aclosing(await self._open(stack)) as pieces:
                        await send(
                            {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                        )
                        begun = True
                        last = await self._send(pieces, scope, send)
        except ClientDisconnectedError:
            exchange_of(scope).left = True
            return
        except InferloomError as failure:
            if not begun:
                raise
            exchange_of(scope).error = failure.reason
            last = self._broken(failure)
        if last is not None:
            await send({"type": "http.response.body", "body": last, "more_body": False})

    @abstractmethod
    async def _send(self, pieces: AsyncGenerator[bytes, None], scope: Scope, send: Send) -> bytes:
        """Send all pieces; return what ends the body.

        Raises:
            InferloomError: What the client is to be told instead.
        """

    @abstractmethod
    def _broken(self, failure: InferloomError) -> bytes | None:
        """What ends the body of a response that fails; None: nothing, it is broken off."""
