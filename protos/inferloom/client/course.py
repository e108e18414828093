"""The course of one request over its calls: what is called, and what follows a failure. Without I/O."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc

from inferloom.client.errors import InferloomError
from inferloom.client.targets import workers
from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.registry_pb2 import ListWorkersResponse

RESUMABLE, STREAM = "x-inferloom-resumable", "x-inferloom-stream"
_RETRYABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0
_REGISTRY_S = 5.0
"""What a registry gets to answer, before the next one is asked."""
_SETTLING_S = 2.0
"""When workers that a new registry does not know may have come back."""


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
        self.asked = ""
        """The gateway or the registry that was called last."""
        self.stream = ""
        """Name of the resumable stream; empty: it is none."""
        self.after: int | None = None
        """Sequence of its last event."""

    @property
    def goes_on(self) -> bool:
        """Whether the next call asks for the rest of a stream, in place of the request."""
        return bool(self.stream)

    def worker(self, model: str, listed: ListWorkersResponse) -> str:
        """Which worker the next call goes to, of those that a registry lists.

        Raises:
            InferloomError: None has the model.
        """
        if able := workers(listed.workers, model):
            return self.choose(able)
        message = f"No worker that takes requests has the model '{model}'."
        if not listed.settling:
            raise InferloomError(message, grpc.StatusCode.NOT_FOUND)
        message = f"{message} The registry has only just begun."
        raise InferloomError(message, grpc.StatusCode.UNAVAILABLE, retry_after_s=_SETTLING_S)

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

    def patience(self) -> float:
        """Seconds that a registry gets to answer."""
        left = self.left()
        return _REGISTRY_S if left is None else min(left, _REGISTRY_S)

    def unheard(self, error: InferloomError, patience: float) -> InferloomError:
        """What it means that a registry failed that had so many seconds. One that was late is lost, unless
        they were all that the request had."""
        late = error.code is grpc.StatusCode.DEADLINE_EXCEEDED and not error.reason
        if not late or patience < _REGISTRY_S:
            return error
        return InferloomError(f"The registry at {self.asked} does not answer.", grpc.StatusCode.UNAVAILABLE)

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
