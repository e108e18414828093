"""The hand-over from an engine's thread to the event loops that wait for its events.

An engine posts everything that a step produced as one batch: one wake-up per loop and step, however many
requests it serves.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from inferloom_mesh.errors import InferloomError
from inferloom_worker.engine.handover import hand_to_loops
from inferloom_worker.engine.protocol import (
    Event,
    GenerationRequest,
    GenerationStats,
    TokensEvent,
    VectorEvent,
)

Abort = Callable[["Mailbox", int | None], None]


class Mailbox:
    """A :class:`~inferloom_worker.engine.protocol.Generation` that an engine on another thread fills."""

    __slots__ = (
        "__weakref__",
        "_abort",
        "_failure",
        "_open",
        "_pending",
        "_wake",
        "loop",
        "posted_at",
        "request",
        "stats",
    )

    def __init__(self, request: GenerationRequest, abort: Abort) -> None:
        self.request = request
        self.stats = GenerationStats()
        self.loop = asyncio.get_running_loop()
        self.posted_at = 0.0
        """When the engine last had news for it; the engine's own, in its clock."""
        self._abort = abort
        self._open = set(range(request.n))
        self._pending: list[Event] = []
        self._failure: InferloomError | None = None
        self._wake: asyncio.Future[None] | None = None

    def deliver(self, event: Event | InferloomError) -> None:
        """Add an event, or the error that ends the request. Only on the mailbox's own loop."""
        if isinstance(event, InferloomError):
            self._failure = event
        elif not isinstance(event, TokensEvent) or event.choice in self._open:
            self._pending.append(event)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        while self._open:
            if not self._pending:
                if self._failure is not None:
                    raise self._failure
                self._wake = self.loop.create_future()
                await self._wake
                continue
            batch, self._pending = self._pending, []
            self._open.difference_update(choice for e in batch if (choice := _ended(e)) is not None)
            yield batch

    def abort(self, choice: int | None = None) -> None:
        doomed = self._open if choice is None else self._open & {choice}
        if not doomed:
            return
        self._open = self._open - doomed
        self._pending = [e for e in self._pending if not (isinstance(e, TokensEvent) and e.choice in doomed)]
        self._abort(self, choice)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


def _ended(event: Event) -> int | None:
    """The choice that an event ends."""
    if isinstance(event, VectorEvent):
        return 0
    return event.choice if isinstance(event, TokensEvent) and event.end is not None else None


def hand_over(batch: Iterable[tuple[Mailbox, Event | InferloomError]]) -> None:
    """Deliver a step's events from the engine's thread, waking each loop once."""
    hand_to_loops(batch, lambda item: item[0].loop, _deliver_all)


def _deliver_all(items: list[tuple[Mailbox, Event | InferloomError]]) -> None:
    for mailbox, event in items:
        mailbox.deliver(event)
