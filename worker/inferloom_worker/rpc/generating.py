"""A Generate call that was taken, whichever door it came through."""

from collections.abc import Callable

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.hosting.answer import Answer
from inferloom_worker.hosting.running_calls import Call, RunningCalls


class Generating:
    """Its answer, and its place among the running calls until it is closed.

    Args:
        answer: The answer.
        call: Its place.
        calls: The running calls.
        worker_id: The worker's name.
    """

    def __init__(self, answer: Answer, call: Call, calls: RunningCalls, worker_id: str) -> None:
        self.answer = answer
        self._call = call
        self._calls = calls
        self._worker_id = worker_id

    def when_ended(self, act: Callable[[], object]) -> None:
        """Have ``act`` called where the call has to end before its time; :meth:`check` then fails."""
        self._call.end = act

    def check(self) -> None:
        """Fail if the call has to end. Raises InferloomError: WORKER_LOST."""
        self._call.check()

    def named(self, event: pb.GenerateResponse) -> pb.GenerateResponse:
        """An event, with the worker's name where it is told."""
        if event.HasField("started"):
            event.started.worker_id = self._worker_id
        return event

    def close(self) -> None:
        """Free what it holds. Closing twice does nothing."""
        self.answer.abort()
        self._calls.leave(self._call)
