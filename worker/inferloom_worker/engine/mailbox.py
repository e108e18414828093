"""The hand-over from an engine's thread to the event loops that wait for its events.

An engine posts everything that a step produced as one batch: one wake-up per loop and step, however many
requests it serves.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engine.events import EndReason, Event, TokensEvent, VectorEvent
from inferloom_worker.engine.handover import hand_to_loops
from inferloom_worker.engine.protocol import GenerationStats
from inferloom_worker.engine.request import GenerationRequest

Abort = Callable[["Mailbox", int | None], None]


class Mailbox:
    """A :class:`~inferloom_worker.engine.protocol.Generation` that an engine fills.

    Args:
        request: What was asked for.
        abort: Tells the engine that a choice, or all, are to end.
        emptied: Called when the reader has taken all that there was. None: the engine does not care.
        clock: Monotonic seconds, which the request's deadline is a reading of.

    A request whose deadline passes ends here, where no step of its engine can hold it up: its choices with
    DEADLINE, or, where one of them has no token yet, all of it with TIMEOUT.
    """

    __slots__ = (
        "__weakref__",
        "_abort",
        "_alarm",
        "_emptied",
        "_ended",
        "_failure",
        "_follower",
        "_open",
        "_pending",
        "_said",
        "_wake",
        "loop",
        "posted_at",
        "request",
        "stats",
    )

    def __init__(
        self,
        request: GenerationRequest,
        abort: Abort,
        emptied: Callable[["Mailbox"], object] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.request = request
        self.stats = GenerationStats()
        self.loop = asyncio.get_running_loop()
        self.posted_at = 0.0
        """When the engine last had news for it; the engine's own, in its clock."""
        self._abort = abort
        self._emptied = emptied
        self._open = set(request.choices)
        self._said = {choice: len(at.token_ids) for choice, at in request.committed.items()}
        """Tokens of each choice that has some."""
        self._pending: list[Event] = []
        self._ended = set[int]()
        """Choices whose last event is here, read or not."""
        self._failure: InferloomError | None = None
        self._wake: asyncio.Future[None] | None = None
        self._follower: Callable[[], object] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        if request.deadline is not None:
            left_s = max(0.0, request.deadline - clock())
            self._alarm = self.loop.call_later(left_s, self._late)

    @property
    def waiting(self) -> bool:
        return bool(self._pending) or (self._failure is not None and bool(self._open))

    @property
    def over(self) -> bool:
        return not self._open

    def deliver(self, event: Event | InferloomError) -> None:
        """Add an event, or the error that ends the request. Only on the mailbox's own loop."""
        if isinstance(event, InferloomError):
            self._failure = event
        elif not isinstance(event, TokensEvent):
            self._pending.append(event)
        elif event.choice in self._open and event.choice not in self._ended:
            self._said[event.choice] = event.index + len(event.token_ids)
            if event.end is not None:
                self._ended.add(event.choice)
            self._pending.append(event)
        self._tell()

    def follow(self, news: Callable[[], object]) -> bool:
        self._follower = news
        return True

    def take(self, most: int) -> Sequence[Event]:
        if not self._pending:
            if self._failure is not None and self._open:
                self._rest()
                raise self._failure.kept()
            return ()
        batch, self._pending = self._pending, []
        if len(batch) > most:
            self._pending = batch[most:]
            del batch[most:]
        elif self._emptied is not None:
            self._emptied(self)
        for event in batch:
            if (choice := _ended(event)) is not None:
                self._open.discard(choice)
        if not self._open:
            self._rest()
        return batch

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        while self._open:
            batch = self.take(len(self._pending))
            if batch:
                yield batch
                continue
            self._wake = self.loop.create_future()
            await self._wake

    def abort(self, choice: int | None = None) -> None:
        doomed = self._open if choice is None else self._open & {choice}
        if not doomed:
            return
        self._open = self._open - doomed
        self._pending = [e for e in self._pending if not (isinstance(e, TokensEvent) and e.choice in doomed)]
        self._abort(self, choice)
        if not self._open:
            self._rest()
        self._tell()

    def _late(self) -> None:
        """Its time is over: what has come is kept."""
        self._alarm = None
        if self._failure is not None:
            return
        left = [choice for choice in self.request.choices if choice in self._open - self._ended]
        if not left:
            return
        if self.request.embeds or not all(choice in self._said for choice in left):
            self._failure = InferloomError(Reason.TIMEOUT, "The deadline passed before the first token.")
        else:
            for choice in left:
                self._ended.add(choice)
                self._pending.append(TokensEvent(choice, self._said[choice], (), None, EndReason.DEADLINE))
        for choice in left:
            self._abort(self, choice)
        self._tell()

    def _rest(self) -> None:
        """There is nothing left that could be late; the timer would hold its prompt until then."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _tell(self) -> None:
        if self._follower is not None:
            self._follower()
        elif self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


def _ended(event: Event) -> int | None:
    """The choice that an event ends."""
    if isinstance(event, VectorEvent):
        return 0
    return event.choice if isinstance(event, TokensEvent) and event.end is not None else None


def hand_over(batch: Iterable[tuple[Mailbox, Event | InferloomError]]) -> None:
    """Deliver a step's events from the engine's thread, waking each loop once."""
    hand_to_loops(batch, lambda item: item[0].loop, deliver_all)


def deliver_all(items: Iterable[tuple[Mailbox, Event | InferloomError]]) -> None:
    """Deliver a step's events on the loop that all of them are for."""
    for mailbox, event in items:
        mailbox.deliver(event)
