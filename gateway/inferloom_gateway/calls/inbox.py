"""Holds events for somebody who awaits them."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from inferloom_gateway.calls.link import CallFailedError
from inferloom_gateway.calls.sink import EventSink
from inferloom_gateway.calls.tokens import Tokens
from inferloom_mesh.errors import InferloomError

Event = TypeVar("Event")
Error = TypeVar("Error", InferloomError, CallFailedError)


class Inbox(Generic[Event, Error]):
    """An :class:`~inferloom_gateway.calls.sink.EventSink` that is read from, by one reader at a time.

    While there is something to read, or its reader wants nothing (it is that one's
    :class:`~inferloom_gateway.calls.sink.Flow`), what makes the events is held back: so it keeps a bounded
    amount, and either of the two alone lets nothing flow again.

    Args:
        want: Told whether events are wanted, when that changes. They are at first.
    """

    def __init__(self, want: Callable[[bool], None]) -> None:
        self._want = want
        self._wanted = True
        self._paused = False
        self._held: deque[Event | Tokens] = deque()
        self._over = False
        self._error: Error | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def first(self) -> Event | Tokens | None:
        """What is read next, if it is there."""
        return self._held[0] if self._held else None

    @property
    def wanted(self) -> bool:
        """Whether events are wanted now."""
        return self._wanted

    def take(self, event: Event) -> None:
        """Hold an event."""
        self._hold(event)

    def tokens(self, tokens: Tokens) -> None:
        """Hold a Delta."""
        self._hold(tokens)

    def end(self, error: Error | None) -> None:
        """Note the end, which is read behind all events."""
        self._over = True
        self._error = error
        self._wake()

    async def read(self) -> Event | Tokens | None:
        """Return the next; None after the last. Raises the error that ended them."""
        while not self._held:
            if self._error is not None:
                raise self._error.kept()  # what is raised holds its reader, who holds this
            if self._over:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        found = self._held.popleft()
        self._settle()
        return found

    def hand_over(self, sink: EventSink[Event, Error]) -> None:
        """Give everything to ``sink``, the end too if it was there, and hold nothing back any more that its
        reader wants."""
        while self._held:
            held = self._held.popleft()
            if isinstance(held, Tokens):
                sink.tokens(held)
            else:
                sink.take(held)
        if self._over:
            sink.end(self._error)
        else:
            self._settle()

    def close(self) -> None:
        """Nobody reads any more, and nobody is told what is wanted."""
        self._want = _nobody

    # the reader's

    def pause(self) -> None:
        """Want nothing for now, also of what is handed over."""
        self._paused = True
        self._settle()

    def resume(self) -> None:
        """Want more. One that wants it already changes nothing."""
        self._paused = False
        self._settle()

    def _hold(self, held: Event | Tokens) -> None:
        self._held.append(held)
        if self._wanted:
            self._settle()
        if self._waiter is not None:
            self._wake()

    def _settle(self) -> None:
        """Say whether events are wanted, where that has changed."""
        wanted = not (self._paused or self._held)
        if wanted is not self._wanted and not self._over:
            self._wanted = wanted
            self._want(wanted)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None  # the rest of a frame does not wake him again
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _nobody(wanted: bool) -> None:
    """There is nobody to be told."""
