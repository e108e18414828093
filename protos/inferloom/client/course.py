"""The course of one request over its calls: what is called, and what follows a failure. Without I/O."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc

from inferloom.client.errors import InferloomError
from inferloom.v1 import inference_pb2 as pb

RESUMABLE, STREAM = "x-inferloom-resumable", "x-inferloom-stream"
_RETRYABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0


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
    gone on from: a resumable stream. It is not, where the mesh said that the request is at fault.

    Args:
        trying: How often.
        clock: Monotonic seconds.
        jitter: Draws from 0 to 1; waits are spread by it, so that many clients do not come back together.
    """

    def __init__(
        self,
        trying: Trying,
        clock: Callable[[], float],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._trying = trying
        self._clock = clock
        self._jitter = jitter
        self._deadline = None if trying.timeout_s is None else clock() + trying.timeout_s
        self._failures = 0
        self._seen = False
        self._called = ""
        self._avoided: set[str] = set()
        self.stream = ""
        """Name of the resumable stream; empty: it is none."""
        self.after: int | None = None
        """Sequence of its last event."""

    @property
    def goes_on(self) -> bool:
        """Whether the next call asks for the rest of a stream, in place of the request."""
        return bool(self.stream)

    def choose(self, able: Sequence[str]) -> str:
        """Which worker the next call goes to: the first that has not failed this request, or the first of all
        where each has.

        Args:
            able: Addresses, at least one, best first.
        """
        if self._avoided.issuperset(able):
            self._avoided.clear()
        self._called = next(each for each in able if each not in self._avoided)
        return self._called

    def left(self) -> float | None:
        """Seconds that the next call may take. None: any."""
        return None if self._deadline is None else max(0.0, self._deadline - self._clock())

    def took(self, event: pb.GenerateResponse) -> None:
        """Note what the caller gets."""
        self._failures = 0
        if event.HasField("sequence"):
            self.after = event.sequence
        if event.WhichOneof("event") not in ("started", "heartbeat"):
            self._seen = True

    def failed(self, error: InferloomError) -> float:
        """Seconds to wait before the next call.

        Raises:
            InferloomError: There is none: ``error`` is the request's answer.
        """
        self._failures += 1
        if self._called:
            # A registry lists a worker that has died until its lease ends, with the load of before.
            self._avoided.add(self._called)
            self._called = ""
        again = error.code in _RETRYABLE and (not self._seen or self.goes_on)
        if not again or self._failures > self._trying.retries:
            raise error
        wait = error.retry_after_s
        if wait is None:
            wait = min(_FIRST_WAIT_S * 2 ** (self._failures - 1), _LONGEST_WAIT_S) * (
                0.5 + self._jitter() / 2
            )
        left = self.left()
        if left is not None and wait >= left:
            raise error
        return wait
