"""A streamed answer, from whichever workers give it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import TracebackType
from typing import Generic, Self, TypeVar

from inferloom.v1.inference_pb2 import EmbedRequest, EmbedResponse, GenerateRequest, GenerateResponse
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.attempts import Attempts
from inferloom_gateway.calls.link import CallFailedError
from inferloom_gateway.calls.progress import Progress
from inferloom_gateway.calls.worker_call import WorkerCall
from inferloom_mesh.errors import InferloomError

Request = TypeVar("Request", GenerateRequest, EmbedRequest)
Event = TypeVar("Event", GenerateResponse, EmbedResponse)

Open = Callable[[Request], Awaitable[tuple[WorkerCall[Event], Event]]]
"""Makes a call on the next worker that accepts it; returns it with its first event. Raises InferloomError."""


class Stream(Generic[Request, Event]):
    """One call's events. It moves to another worker for as long as its caller need not know.

    Closing it aborts the call; closing it again, or after its end, does nothing. Use it as a context manager,
    so that every way out of the block closes it.
    """

    def __init__(
        self, open_call: Open[Request, Event], attempts: Attempts, progress: Progress[Request, Event]
    ) -> None:
        self.restarts = 0
        """How often it has moved to another worker."""
        self._open_call: Open[Request, Event] = open_call
        self._attempts = attempts
        self._progress: Progress[Request, Event] = progress
        self._call: WorkerCall[Event] | None = None
        self._ahead: Event | None = None
        self._open = True

    @property
    def completed(self) -> bool:
        """Whether the last event was read."""
        return self._progress.completed

    @property
    def ahead(self) -> Event | None:
        """The first event, until it is read."""
        return self._ahead

    async def begin(self, request: Request) -> Self:
        """Wait until a worker has accepted the request. Its first event is held for the first read.

        Raises:
            InferloomError: No worker accepted it; the reason says why.
        """
        self._call, self._ahead = await self._open_call(request)
        return self

    async def read(self) -> Event | None:
        """Return the next event; None after the last.

        Raises:
            InferloomError: The call failed, or its worker was lost, and it cannot go on elsewhere.
        """
        while True:
            event, self._ahead = self._ahead, None
            if event is None:
                call = self._call
                assert call is not None, "a stream is read after it began"
                try:
                    event = await call.read()
                    if event is None:
                        if self._progress.completed:
                            return None
                        raise CallFailedError(attempt.broken())
                except CallFailedError as failure:
                    await self._move(call, failure)
                    continue
            seen = self._progress.take(event)
            if self._progress.size:
                self._attempts.frame(self._progress.size)
            elif self._progress.completed:
                self._attempts.completed(event.completed.usage, event.completed.timings)
            if seen is not None:
                return seen

    def close(self) -> None:
        """End the call if it still runs."""
        self._open = False
        if self._call is not None:
            self._call.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _move(self, call: WorkerCall[Event], failure: CallFailedError) -> None:
        """Go on elsewhere, or raise why not."""
        call.close()
        progress = self._progress
        verdict = replace(failure.verdict, error=progress.restated(failure.verdict.error))
        if verdict.elsewhere and (end := progress.end()) is not None:
            self._attempts.broke_off(call.member, verdict)
            self._ahead = end
            return
        rest = progress.rest() if verdict.elsewhere else None
        self._attempts.failed(call.member, verdict, final=rest is None)
        assert rest is not None
        try:
            self._call, self._ahead = await self._open_call(rest)
        except InferloomError as error:
            raise progress.restated(error) from failure
        self.restarts += 1
        if not self._open:
            self._call.close()
