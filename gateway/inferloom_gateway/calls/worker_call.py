"""One call on one worker, which may stall."""

from collections.abc import Callable
from dataclasses import replace
from typing import Generic, Self, TypeVar

from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.in_flight import InFlight
from inferloom_gateway.calls.inbox import Inbox
from inferloom_gateway.calls.link import CallFailedError, CallSink, RunningCall
from inferloom_gateway.calls.sink import EventSink
from inferloom_gateway.calls.stall_watch import StallWatch
from inferloom_gateway.calls.tokens import Tokens
from inferloom_gateway.fleet.members import Member
from inferloom_mesh.durations import seconds
from inferloom_mesh.errors import Reason

STALL_S = 6.0
"""Silence that is a stall even where no step takes long."""

STALL_STEPS = 5
"""Silence that is a stall, in steps of the model: one long step is none."""

LONG_STEP_S = 30.0
"""How long one step may take at a worker that goes on to say that it lives."""

LONG_READING_S = 90.0
"""How long a worker may read a request, whatever it says: it bounds each stage itself, to about 10 s."""

Event = TypeVar("Event")


def patience(member: Member, model: str) -> float:
    """How long a worker may send nothing, in seconds."""
    card = member.models.get(model)
    longest = seconds(card.longest_step) if card is not None else 0.0
    return max(STALL_S, STALL_STEPS * longest)


class WorkerCall(Generic[Event]):
    """A call, counted in flight by its maker before it was made, and until it is closed.

    Its events are read, or passed on to a sink once there is one. Only time in which they are wanted is
    silence of the worker's: a client that does not read lets a worker's events wait.

    Args:
        member: Its worker.
        in_flight: Counts it.
        watch: Looks after it until it is closed.
        patience_s: How long the worker may send nothing; infinite for calls that have no heartbeat.
    """

    def __init__(self, member: Member, in_flight: InFlight, watch: StallWatch, patience_s: float) -> None:
        self.member = member
        self._in_flight = in_flight
        self._watch = watch
        self._patience_s = patience_s
        self._inbox: Inbox[Event, CallFailedError] = Inbox(self._want)
        self._out: EventSink[Event, CallFailedError] = self._inbox
        self._running: RunningCall | None = None
        self._began = self._since = self._alive = watch.now
        self._heard = False
        self._over = False
        self._open = True
        watch.add(self)

    def start(self, begin: Callable[[CallSink[Event]], RunningCall]) -> Self:
        """Make it: ``begin`` is given where its events go."""
        self._running = begin(self)
        return self

    async def read(self) -> Event | Tokens | None:
        """Return the next event; None after the last.

        Raises:
            CallFailedError: The call failed, stalled, or lost its worker's lease before its first event.
        """
        return await self._inbox.read()

    def pass_on(self, sink: EventSink[Event, CallFailedError]) -> None:
        """Give all events to ``sink`` from now on, those that wait first."""
        self._out = sink
        self._inbox.hand_over(sink)

    # the link's sink

    def take(self, event: Event) -> None:
        """Take the worker's next event."""
        self._since = self._watch.now
        self._heard = True
        self._out.take(event)

    def tokens(self, tokens: Tokens) -> None:
        """Take the worker's next Delta."""
        self._since = self._watch.now
        self._out.tokens(tokens)

    def beat(self, *, moved: bool) -> None:
        """Note that the worker lives."""
        self._alive = self._watch.now
        if moved:
            self._since = self._alive

    def end(self, error: CallFailedError | None) -> None:
        """Take the call's end."""
        if self._over:
            return
        self._over = True
        if error is not None and self._running is not None and not self._running.sent:
            error = CallFailedError(replace(error.verdict, suspect=False))  # it never left the gateway
        if error is not None and error.verdict.error.reason is Reason.TIMEOUT:
            quick = self._watch.now - self._since < STALL_S  # it was given too little time
            error = CallFailedError(attempt.unblamed(error.verdict)) if quick else error
        self._out.end(error)

    # flow

    def pause(self) -> None:
        """Want no events for now."""
        self._inbox.pause()

    def resume(self) -> None:
        """Want events. Whoever has wanted them all along gives a silent worker no more time by it."""
        self._inbox.resume()

    def _want(self, wanted: bool) -> None:
        if wanted:
            self._since = self._watch.now
        if self._running is not None:
            (self._running.resume if wanted else self._running.pause)()

    # the watch's

    def check(self, now: float) -> None:
        """End the call if it has stalled."""
        if self._over or not self._inbox.wanted:
            return
        if self._stalled(now):
            verdict = attempt.stalled()
        elif self.member.expired and not self._heard:
            verdict = attempt.expired()
        else:
            return
        if self._running is not None:
            self._running.cancel()
        self.end(CallFailedError(verdict))

    def _stalled(self, now: float) -> bool:
        """Whether the worker has been silent for too long. One that has the call and is mute until its first
        event is not: its connection tells whether it is there."""
        running = self._running
        if running is not None and running.sent and not self._heard:
            if now - self._began > max(self._patience_s, LONG_READING_S):
                return True
            if running.mute:
                return False
        silent, still = now - max(self._since, self._alive), now - self._since
        return silent > self._patience_s or still > max(self._patience_s, LONG_STEP_S)

    def close(self) -> None:
        """End the call if it still runs. Closing it again does nothing."""
        if self._open:
            self._open = False
            self._over = True
            self._watch.discard(self)
            self._in_flight.leave(self.member)
            running, self._running = self._running, None
            if running is not None:
                running.cancel()
            self._inbox.close()
