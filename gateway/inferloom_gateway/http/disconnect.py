"""Ends the work on a request as soon as its client is gone."""

import asyncio
from types import TracebackType

from starlette.types import Receive


class ClientDisconnectedError(Exception):
    """Nobody waits for the response any more."""


class AbortOnDisconnect:
    """Cancels what runs in its block when the client disconnects, and then raises ClientDisconnectedError.

    The request's body must have been read. Leaving the block ends the watch.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._watch = asyncio.create_task(self._wait())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.cancel()
        # A cancellation that came from elsewhere as well must go on.
        if self._gone and isinstance(error, asyncio.CancelledError) and self._task.uncancel() == 0:
            raise ClientDisconnectedError from None

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._task.cancel()
