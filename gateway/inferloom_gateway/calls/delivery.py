"""What the workers of one call have delivered, and what that says of them."""

from collections.abc import Callable

from inferloom.v1.inference_pb2 import Timings, Usage
from inferloom_gateway.calls.in_flight import InFlight
from inferloom_gateway.calls.listener import Listener
from inferloom_gateway.calls.pacing import Pacing
from inferloom_gateway.calls.records import Attempt, Record
from inferloom_gateway.calls.suspicion import Suspicion
from inferloom_gateway.fleet.members import Member
from inferloom_mesh.durations import seconds
from inferloom_mesh.errors import InferloomError


class Delivery:
    """Keeps the books on the attempt that runs: what has come, how fast, and how it ended.

    Args:
        record: The request's record.
        listener: Is told of the attempt's end, the first token, and each event.
        in_flight: Is told that the worker does what it was asked for.
        suspicion: Is told that the request has not ended its worker.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        record: Record,
        listener: Listener,
        in_flight: InFlight,
        suspicion: Suspicion,
        clock: Callable[[], float],
    ) -> None:
        self.attempt: Attempt | None = None
        """The one that runs, or ran last; None: there was none."""
        self._record = record
        self._listener = listener
        self._frame_listeners = listener.frame_listeners
        self._in_flight = in_flight
        self._suspicion = suspicion
        self._clock = clock
        self._unproven: Member | None = None
        """The worker, until it has done some of what it was asked for."""
        self._pacing = Pacing()

    @property
    def was_accepted(self) -> bool:
        """Whether the attempt's worker has accepted the call."""
        return self.attempt is not None and self.attempt.accepted_s is not None

    def begin(self, attempt: Attempt) -> None:
        """Note an attempt that is about to be made."""
        self.attempt = attempt
        self._pacing.begin(self._record.began + attempt.began_s)
        self._record.attempts.append(attempt)

    def accepted(self, member: Member) -> None:
        """Note that its worker has accepted the call."""
        self._unproven = member
        if self.attempt is not None:
            self.attempt.accepted_s = self.now()

    def frame(self, count: int) -> None:
        """Note an event with ``count`` tokens or vectors."""
        record = self._record
        if self._unproven is not None or record.first_token_s is None:
            self._first()
        elif (counted := self._pacing.counted) is not None:
            counted.tokens += count
        else:
            self._pacing.came(self._clock())
        record.frames += 1
        record.delivered += count
        for listener in self._frame_listeners:
            listener.on_frame(record, count)

    def completed(self, usage: Usage, timings: Timings) -> None:
        """Note that a stream has ended well, and what it used."""
        self._record.used(usage, timings)
        read = usage.prompt_tokens - usage.cached_prompt_tokens
        self._pacing.completed(seconds(timings.queue), read, self._clock())
        self.answered()

    def answered(self) -> None:
        """Note that the attempt has ended well."""
        self._prove()
        self._suspicion.answered()
        self._end(None, "")

    def failed(self, error: InferloomError, cause: str) -> None:
        """Note that the attempt has failed, and in a word why, where the error does not say it."""
        self._unproven = None
        self._suspicion.leave()
        self._end(error, cause)

    def left(self) -> None:
        """Note that nobody waits for the attempt any more, which may run."""
        self._pacing.end(self._clock())
        self._suspicion.leave()

    def want(self, wanted: bool) -> None:
        """Note whether anybody wants something of its worker, which has changed."""
        self._pacing.want(wanted, self._clock())

    def now(self) -> float:
        """Seconds since the request's arrival."""
        return self._clock() - self._record.began

    def _first(self) -> None:
        """Note an attempt's first event, which may be the request's."""
        record = self._record
        if record.first_token_s is None:
            record.first_token_s = self.now()
            self._listener.on_first_token(record)
        if self._unproven is None:
            return
        if record.method == "generate" and self.attempt is not None:
            self._pacing.first(self._unproven.pace(record.model), self._clock())
        self._prove()

    def _prove(self) -> None:
        self._suspicion.token()
        if self._unproven is not None:
            self._in_flight.succeeded(self._unproven, self._record.model)
            self._unproven = None

    def _end(self, error: InferloomError | None, cause: str) -> None:
        self._pacing.end(self._clock())
        attempt = self.attempt
        if attempt is not None and attempt.ended_s is None:
            attempt.ended_s = self.now()
            attempt.error, attempt.cause = error, cause
            self._listener.on_attempt(self._record, attempt)
