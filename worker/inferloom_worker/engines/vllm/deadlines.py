"""Ends requests of the vLLM engine whose time is over."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engine.mailbox import Mailbox
from inferloom_worker.engine.protocol import EndReason, Event, TokensEvent


class Deadlines:
    """A timer for each open request that has a deadline. On the engine's loop.

    Args:
        loop: That loop, whose time deadlines are in.
        clock: Monotonic seconds, as the loop has them.
        expire: Is called with a request whose time is over.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        expire: Callable[[Mailbox], None],
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._expire = expire
        self._timers: dict[Mailbox, asyncio.TimerHandle] = {}

    def begin(self, mailbox: Mailbox) -> None:
        """Watch over a request."""
        deadline = mailbox.request.deadline
        if deadline is not None:
            left = max(0.0, deadline - self._clock())
            self._timers[mailbox] = self._loop.call_later(left, self._expire, mailbox)

    def end(self, mailbox: Mailbox) -> None:
        """Let go of one that has ended: its timer holds it."""
        if (timer := self._timers.pop(mailbox, None)) is not None:
            timer.cancel()


def last_words(said: Mapping[int, int]) -> Iterator[Event | InferloomError]:
    """What a request is told whose time is over.

    Args:
        said: How many tokens each of its open choices has.
    """
    if not all(said.values()):
        yield InferloomError(Reason.TIMEOUT, "The deadline passed before the first token.")
        return
    for choice, tokens in said.items():
        yield TokensEvent(choice, tokens, (), None, EndReason.DEADLINE)
