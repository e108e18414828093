"""One call on one worker, which may stall."""

from typing import Generic, TypeVar

from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.in_flight import InFlight
from inferloom_gateway.calls.link import CallFailedError, EventSource
from inferloom_gateway.calls.stall_watch import StallWatch
from inferloom_gateway.fleet.members import Member
from inferloom_mesh.durations import seconds
from inferloom_mesh.errors import Reason

STALL_S = 6.0
"""Silence that is a stall even where no step takes long."""

STALL_STEPS = 5
"""Silence that is a stall, in steps of the model: one long step is none."""

Event = TypeVar("Event")


def patience(member: Member, model: str) -> float:
    """How long a worker may send nothing, in seconds."""
    card = member.models.get(model)
    longest = seconds(card.longest_step) if card is not None else 0.0
    return max(STALL_S, STALL_STEPS * longest)


class WorkerCall(Generic[Event]):
    """A call, counted in flight by its maker before it was made, and until it is closed.

    Only time in which somebody waits in :meth:`read` is silence of the worker's: a client that does not read,
    or a gateway that is busy elsewhere, lets a worker's events wait.

    Args:
        source: The call.
        member: Its worker.
        in_flight: Counts it.
        watch: Looks after it until it is closed.
        patience_s: How long the worker may send nothing; infinite for calls that have no heartbeat.
    """

    def __init__(
        self,
        source: EventSource[Event],
        member: Member,
        in_flight: InFlight,
        watch: StallWatch,
        patience_s: float,
    ) -> None:
        self.member = member
        self._source = source
        self._in_flight = in_flight
        self._watch = watch
        self._patience_s = patience_s
        self._heard = False
        self._since: float | None = None
        self._open = True
        watch.add(self)

    async def read(self) -> Event | None:
        """Return the next event; None after the last.

        Raises:
            CallFailedError: The call failed, stalled, or lost its worker's lease before its first event.
        """
        self._since = since = self._watch.now
        try:
            event = await self._source.read()
        except CallFailedError as failure:
            timed_out = failure.verdict.error.reason is Reason.TIMEOUT
            if timed_out and self._watch.now - since < STALL_S:  # it was given too little time
                raise CallFailedError(attempt.unblamed(failure.verdict)) from failure
            raise
        finally:
            self._since = None
        self._heard = True
        return event

    def check(self, now: float) -> None:
        """End the call if it has stalled."""
        if self._since is None:
            return
        if now - self._since > self._patience_s:
            verdict = attempt.stalled()
        elif self.member.expired and not self._heard:
            verdict = attempt.expired()
        else:
            return
        self._since = None  # the read will end
        self._source.abort(verdict)

    def close(self) -> None:
        """End the call if it still runs. Closing it again does nothing."""
        if self._open:
            self._open = False
            self._watch.discard(self)
            self._in_flight.leave(self.member)
            self._source.cancel()
