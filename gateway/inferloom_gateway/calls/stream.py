"""A streamed answer, from whichever workers give it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Generic, Self, TypeVar

from inferloom.v1.inference_pb2 import EmbedRequest, EmbedResponse, GenerateRequest, GenerateResponse
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.attempts import Attempts
from inferloom_gateway.calls.inbox import Inbox
from inferloom_gateway.calls.link import CallFailedError
from inferloom_gateway.calls.progress import Progress
from inferloom_gateway.calls.sink import EventSink
from inferloom_gateway.calls.tokens import Tokens
from inferloom_gateway.calls.worker_call import WorkerCall
from inferloom_mesh.access_line import error_name
from inferloom_mesh.closing import Closing
from inferloom_mesh.errors import InferloomError, server_error

log = logging.getLogger(__name__)

BEAT_S = 1.0
"""How often a call that no worker has shows that it lives."""

Request = TypeVar("Request", GenerateRequest, EmbedRequest)
Event = TypeVar("Event", GenerateResponse, EmbedResponse)

Open = Callable[[Request], Awaitable[tuple[WorkerCall[Event], Event]]]
"""Makes a call on the next worker that accepts it; returns it with its first event. Raises InferloomError."""


class Stream(Closing, Generic[Request, Event]):
    """One call's events. It moves to another worker for as long as its caller need not know.

    Events are pushed: each is handed on in the moment in which it comes, to whoever was named by
    :meth:`push_to`, and waits for :meth:`read` where nobody was. Only moving is a task.

    Closing it aborts the call; closing it again, or after its end, does nothing. Use it as a context manager,
    so that every way out of the block closes it.
    """

    def __init__(
        self, open_call: Open[Request, Event], attempts: Attempts, progress: Progress[Request, Event]
    ) -> None:
        self._open_call: Open[Request, Event] = open_call
        self._attempts = attempts
        self._count = attempts.frame
        self._progress: Progress[Request, Event] = progress
        self._call: WorkerCall[Event] | None = None
        self._moving: asyncio.Task[None] | None = None
        self._beating: asyncio.TimerHandle | None = None
        self._inbox: Inbox[Event, InferloomError] = Inbox(self._want)
        self._out: EventSink[Event, InferloomError] = self._inbox

    @property
    def progress(self) -> Progress[Request, Event]:
        """How far it has come."""
        return self._progress

    @property
    def completed(self) -> bool:
        """Whether the last event has come."""
        return self._progress.completed

    @property
    def ahead(self) -> Event | None:
        """The event that waits to be read, the first at the beginning."""
        event: Event | None = _event(self._inbox.first)
        return event

    async def begin(self, request: Request) -> Self:
        """Wait until a worker has accepted the request. Its first event is held.

        Raises:
            InferloomError: No worker accepted it; the reason says why.
        """
        self._follow(*await self._open_call(request))
        return self

    async def read(self) -> Event | None:
        """Return the next event; None after the last.

        Raises:
            InferloomError: The call failed, or its worker was lost, and it cannot go on elsewhere.
        """
        event: Event | None = _event(await self._inbox.read())
        return event

    def push_to(self, sink: EventSink[Event, InferloomError]) -> None:
        """Give all events to ``sink`` from now on, those that wait to be read first."""
        self._out = sink
        self._inbox.hand_over(sink)

    def close(self) -> None:
        """End the call if it still runs."""
        if self._moving is not None:
            self._moving.cancel()
        self._rest()
        if self._call is not None:
            self._call.close()
            self._call = None
        self._attempts.close()
        self._out = self._inbox  # what it held holds this stream
        self._inbox.close()

    # the call's sink

    def take(self, event: Event) -> None:
        """Take the next event of the present worker."""
        seen = self._progress.take(event)
        if self._progress.size:
            self._count(self._progress.size)
        elif self._progress.completed:
            completed = event.completed
            self._attempts.completed(completed.usage, completed.timings, self._progress.ends)
        if seen is not None:
            self._out.take(seen)

    def tokens(self, tokens: Tokens) -> None:
        """Take the next Delta of the present worker."""
        progress = self._progress
        seen = progress.tokens(tokens)
        if progress.size:
            self._count(progress.size)
        if seen is not None:
            self._out.tokens(seen)

    def end(self, error: CallFailedError | None) -> None:
        """Take the end of the present call."""
        if error is None:
            if self._progress.completed:
                self._out.end(None)
                return
            error = CallFailedError(attempt.broken())
        self._moving = asyncio.get_running_loop().create_task(self._move(error))

    # flow

    def pause(self) -> None:
        """Want no events for now."""
        self._inbox.pause()

    def resume(self) -> None:
        """Want events."""
        self._inbox.resume()

    def _want(self, wanted: bool) -> None:
        self._attempts.want(wanted)
        if self._call is not None:
            (self._call.resume if wanted else self._call.pause)()

    # moving

    def _follow(self, call: WorkerCall[Event], first: Event) -> None:
        """Take the events of ``call``, which has accepted the request with ``first``."""
        self._call = call
        if not self._inbox.wanted:
            call.pause()
        self.take(first)
        call.pass_on(self)

    async def _move(self, failure: CallFailedError) -> None:
        try:
            await self._elsewhere(failure)
        except InferloomError as error:
            self._out.end(error)
        except Exception:  # a bug: nobody awaits this task, and the caller must hear of it
            log.exception("a stream could not be moved")
            self._out.end(server_error())

    async def _elsewhere(self, failure: CallFailedError) -> None:
        """Go on elsewhere, or raise why not."""
        call, progress = self._call, self._progress
        assert call is not None, "a call that failed was there"
        call.close()
        said = failure.verdict
        cause = said.cause or error_name(said.error)
        verdict = replace(said, error=progress.restated(said.error), cause=cause)
        if verdict.elsewhere and (end := progress.end()) is not None:
            self._attempts.broke_off(call.member, verdict)
            self.take(end)
            self._out.end(None)
            return
        rest = progress.rest(resumes=self._attempts.resumes()) if verdict.elsewhere else None
        self._attempts.moves(progress.place)
        self._attempts.failed(call.member, verdict, final=rest is None)
        assert rest is not None
        self._beating = asyncio.get_running_loop().call_later(BEAT_S, self._beat)
        try:
            opened = await self._open_call(rest)
        except InferloomError as error:
            raise progress.restated(error) from failure
        finally:
            self._rest()
        self._follow(*opened)

    def _beat(self) -> None:
        """Do as a worker does that has nothing to tell: none has the call now."""
        self._beating = asyncio.get_running_loop().call_later(BEAT_S, self._beat)
        event = self._progress.waiting() if self._inbox.wanted else None
        if event is not None:
            self._out.take(event)

    def _rest(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            self._beating = None


def _event(held: Any) -> Any:
    """What a reader is given: events of the contract and nothing else."""
    return held.event() if isinstance(held, Tokens) else held
