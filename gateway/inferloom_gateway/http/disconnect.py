"""Ends the work on a request as soon as its client is gone."""

import asyncio
from types import TracebackType

from starlette.types import Receive

from inferloom_gateway.http.sink import Direct


class ClientDisconnectedError(Exception):
    """Nobody waits for the response any more."""


class AbortOnDisconnect:
    """Cancels what runs in its block when the client disconnects, and then raises ClientDisconnectedError.

    The request's body must have been read. Leaving the block ends the watch, which is a task only where the
    connection does not tell by itself.

    Args:
        receive: As ASGI's.
        direct: The connection, where it can be written to directly.
    """

    def __init__(self, receive: Receive, direct: Direct | None = None) -> None:
        self._receive = receive
        self._direct = direct
        self._watch: asyncio.Task[None] | None = None
        self._gone = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        if self._direct is not None:
            self._direct.when_left(self._left)
        else:
            self._watch = asyncio.create_task(self._wait())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None  # what cancelled it holds this block
        if self._direct is not None:
            self._direct.when_left(None)
        # A cancellation that came from elsewhere as well must go on.
        if self._gone and isinstance(error, asyncio.CancelledError) and self._task.uncancel() == 0:
            raise ClientDisconnectedError from None

    def _left(self) -> None:
        self._gone = True
        self._task.cancel()

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left()
