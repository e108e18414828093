"""Holds events for somebody who awaits them."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from inferloom_gateway.calls.sink import EventSink, Flow
from inferloom_gateway.calls.tokens import Tokens

Event = TypeVar("Event")
Error = TypeVar("Error", bound=Exception)


class Inbox(Generic[Event, Error]):
    """An :class:`~inferloom_gateway.calls.sink.EventSink` that is read from, by one reader at a time.

    It holds ``flow`` back while there is something to read, so that it keeps a bounded amount.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._held: deque[Event | Tokens] = deque()
        self._over = False
        self._error: Error | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def first(self) -> Event | Tokens | None:
        """What is read next, if it is there."""
        return self._held[0] if self._held else None

    def take(self, event: Event) -> None:
        """Hold an event."""
        if not self._held:
            self._flow.pause()
        self._held.append(event)
        if self._waiter is not None:
            self._wake()

    def tokens(self, tokens: Tokens) -> None:
        """Hold a Delta."""
        if not self._held:
            self._flow.pause()
        self._held.append(tokens)
        if self._waiter is not None:
            self._wake()

    def end(self, error: Error | None) -> None:
        """Note the end, which is read behind all events."""
        self._over = True
        self._error = error
        self._wake()

    async def read(self) -> Event | Tokens | None:
        """Return the next; None after the last. Raises the error that ended them."""
        while not self._held:
            if self._error is not None:
                raise self._error
            if self._over:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        found = self._held.popleft()
        if not self._held and not self._over:
            self._flow.resume()
        return found

    def hand_over(self, sink: EventSink[Event, Error]) -> None:
        """Give everything to ``sink``, the end too if it was there, and hold the flow back no longer."""
        while self._held:
            held = self._held.popleft()
            if isinstance(held, Tokens):
                sink.tokens(held)
            else:
                sink.take(held)
        if self._over:
            sink.end(self._error)
        else:
            self._flow.resume()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None  # the rest of a frame does not wake him again
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
