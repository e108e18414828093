"""The course of one request over its calls: what is called, and what follows a failure. Without I/O."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inferloom.client.errors import LONGEST_TOLD_S, InferloomError, Kind
from inferloom.v1 import inference_pb2 as pb

RESUMABLE, STREAM = "x-inferloom-resumable", "x-inferloom-stream"
_FIRST_WAIT_S, _GROWTH, _LONGEST_WAIT_S = 0.2, 4.0, 5.0
"""Three waits last 4 s in all, or 2 where chance makes them short: a process that is started anew is there
again by then."""
_SPREAD = 0.25
"""By how much more, at most, is waited than a mesh says, so that not all it refused come back together."""
_LIVED_S = 5.0
"""A stream whose call was accepted, and broke after so long, was not away until then."""


@dataclass(frozen=True, slots=True)
class Trying:
    """How often, and for how long, a request is tried."""

    retries: int = 3
    """Further tries in a row without any news."""
    timeout_s: float | None = None
    """For all tries together. None: as long as the mesh takes."""


class Course:
    """Decides about one request.

    A request is tried again where its caller has seen nothing of an answer, or where what he has seen can be
    gone on from: a resumable stream, for as long as that is kept. It is not, where the mesh said that the
    request is at fault.

    A resumable stream has a name before it is asked for. So a call that is lost before anything came of it
    is followed by one that asks for the stream of that name, and only if there is none by the request again:
    what a mesh has begun to generate is not generated twice.

    Args:
        trying: How often.
        clock: Monotonic seconds.
        jitter: Draws from 0 to 1; waits are spread by it, so that many clients do not come back together.
        stream: Name of the stream. Empty: it is not resumable.
        resumable_s: For how long the stream outlives a lost connection.
    """

    def __init__(
        self,
        trying: Trying,
        clock: Callable[[], float],
        jitter: Callable[[], float] = random.random,
        *,
        stream: str = "",
        resumable_s: float = 0.0,
    ) -> None:
        self._trying = trying
        self._clock = clock
        self._jitter = jitter
        self._deadline = None if trying.timeout_s is None else clock() + trying.timeout_s
        self._resumable_s = resumable_s
        self._failures = 0
        self._failing_since = 0.0
        self._seen = False
        self._begun = False
        self._owed = False
        """Whether the try that a lost call left may still go to a stream that there is not."""
        self._accepted_at: float | None = None
        self._held: tuple[pb.GenerateResponse, ...] = ()
        self.asked = ""
        """Who was called last. Empty: nobody was found."""
        self.avoided: set[str] = set()
        """Workers that have failed the request."""
        self.stream = stream
        """Name of the resumable stream; empty: it is none."""
        self.goes_on = False
        """Whether the next call asks for the stream by its name, in place of the request."""
        self.after: int | None = None
        """Sequence of its last event."""

    def left(self) -> float | None:
        """Seconds that the next call may take. None: any."""
        return None if self._deadline is None else max(0.0, self._deadline - self._clock())

    def accepted(self, stream: str) -> None:
        """Note that a call was accepted whose stream is kept, and by which name."""
        self.stream, self._begun, self.goes_on = stream, True, True
        self._accepted_at = self._clock()

    def took(self, event: pb.GenerateResponse) -> Sequence[pb.GenerateResponse]:
        """Note what came; what the caller gets of it.

        He is given Started together with what follows it: a request that is begun anew before that has
        another one. Events of a stream that is kept are given at once, since they are not made anew.
        """
        kind, sequence = event.WhichOneof("event"), event.sequence if event.HasField("sequence") else None
        if sequence is not None:
            if self.after is not None and sequence <= self.after:
                return ()
            self.after = sequence
        elif kind == "started":
            self.stream, self._held = "", (event,)  # nobody keeps it
            return ()
        elif kind == "heartbeat":
            return (event,) if self._seen else ()
        self._failures, self._seen = 0, True
        held, self._held = self._held, ()
        return (*held, event)

    def failed(self, error: InferloomError, *, elsewhere: bool = False) -> float:
        """Seconds to wait before the next call.

        Args:
            error: How the last one failed.
            elsewhere: Whether a worker that has not failed the request can be called.

        Raises:
            InferloomError: There is none: ``error`` is the request's answer.
        """
        if self._is_free(error):
            self._owed = False
        else:
            self._count()
        if self._other_way(error):
            wait = 0.0
        elif elsewhere and (error.kind is Kind.LATER or error.reason == "MODEL_NOT_FOUND"):
            wait = 0.0  # that is one worker's word
        elif error.kind in (Kind.LATER, Kind.LOST):
            wait = self._wait(error)
        else:
            raise error
        left = self.left()
        if not self._may(wait) or (left is not None and wait >= left):
            raise error
        return wait

    def _is_free(self, error: InferloomError) -> bool:
        """Whether it only says that the lost call before it began nothing: the try is the request's."""
        return self._owed and self._is_unknown(error)

    def _is_unknown(self, error: InferloomError) -> bool:
        """Whether there is no stream to go on with, and the caller has nothing of one."""
        return error.reason == "NOT_FOUND" and self.goes_on and not self._seen

    def _count(self) -> None:
        now, accepted = self._clock(), self._accepted_at
        self._accepted_at = None
        if not self._failures or (accepted is not None and now - accepted >= _LIVED_S):
            self._failing_since = now
        self._failures += 1

    def _other_way(self, error: InferloomError) -> bool:
        """Whether a stream is to be begun in place of being gone on with, or the other way."""
        if not self.stream:
            return False
        if self._is_unknown(error):
            self.goes_on = self._begun = False
            return True
        if error.reason == "ALREADY_EXISTS" and not self.goes_on and self._failures > 1:
            self.goes_on = True  # an earlier call has begun it
            return True
        if error.kind is Kind.LOST:
            self.goes_on = self._owed = True
        return False

    def _wait(self, error: InferloomError) -> float:
        if error.retry_after_s is not None and error.retry_after_s <= LONGEST_TOLD_S:
            return error.retry_after_s * (1 + _SPREAD * self._jitter())
        growing = _FIRST_WAIT_S * _GROWTH ** min(self._failures - 1, 9)
        return min(growing, _LONGEST_WAIT_S) * (0.5 + self._jitter() / 2)

    def _may(self, wait: float) -> bool:
        """Whether there is another try in so many seconds."""
        if self._begun:
            return self._clock() + wait - self._failing_since < self._resumable_s
        return self._failures <= self._trying.retries and not self._seen
