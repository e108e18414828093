"""Sends requests to workers: picks one, and tries another where that can help."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.absences import Absences
from inferloom_gateway.calls.absent import absent
from inferloom_gateway.calls.admission import Admission
from inferloom_gateway.calls.attempts import AnyRequest, Attempts
from inferloom_gateway.calls.call_group import CallGroup
from inferloom_gateway.calls.in_flight import InFlight
from inferloom_gateway.calls.link import CallFailedError, CallSink, RunningCall, UnaryRequest, WorkerLink
from inferloom_gateway.calls.listener import Listeners
from inferloom_gateway.calls.poison import Poison
from inferloom_gateway.calls.progress import Progress
from inferloom_gateway.calls.records import Record
from inferloom_gateway.calls.retry_budget import RetryBudget
from inferloom_gateway.calls.selection import Selection
from inferloom_gateway.calls.stall_watch import StallWatch
from inferloom_gateway.calls.stream import Event, Request, Stream
from inferloom_gateway.calls.suspects import Suspects
from inferloom_gateway.calls.suspicion import Suspicion
from inferloom_gateway.calls.turns import Turns
from inferloom_gateway.calls.visit import Visit
from inferloom_gateway.calls.waiting_room import WaitingRoom
from inferloom_gateway.calls.worker_call import WorkerCall, patience
from inferloom_gateway.fleet.ask import Ask
from inferloom_gateway.fleet.connections import Connections
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_gateway.fleet.prompt_keys import prompt_keys
from inferloom_gateway.fleet.router import Router
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason

T = TypeVar("T")

_INPUT_TASKS = {
    "chat": pb.TASK_CHAT,
    "text": pb.TASK_COMPLETION,
    "token_ids": pb.TASK_COMPLETION,
}
_TASK_NAMES = {
    pb.TASK_CHAT: "chat",
    pb.TASK_COMPLETION: "completions",
    pb.TASK_EMBED: "embeddings",
    pb.TASK_RERANK: "reranking",
}


class Dispatcher:
    """The way from a request to a worker.

    Until the caller has seen some of its answer, a worker that is lost or has no room is replaced by another,
    within the deadline and the retry budget. Moments are those of ``clock``; ``zone`` is where this gateway
    is, and ``absent_wait_s`` for how long a model that had a worker may have none while calls wait for one.
    """

    def __init__(
        self,
        fleet: Fleet,
        connections: Connections[WorkerLink],
        in_flight: InFlight,
        listeners: Listeners,
        clock: Callable[[], float],
        zone: str = "",
        room: WaitingRoom | None = None,
        poison: Poison | None = None,
        absent_wait_s: float = 0.0,
    ) -> None:
        self.listeners = listeners
        self._room = WaitingRoom(fleet, 0, 0, clock) if room is None else room
        self.clock = clock
        self._fleet = fleet
        self._router = Router(fleet, zone)
        self._connections = connections
        self._in_flight = in_flight
        self._budget = RetryBudget()
        self._watch = StallWatch()
        self._suspects = Suspects()
        self.turns = Turns(self._suspects, clock)
        self._absences = Absences(fleet, absent_wait_s, lambda: self.turns.waiting)
        fleet.on_change(self._workers_changed)
        connections.on_change(self._workers_changed)
        self._poison = Poison() if poison is None else poison

    def group(
        self, context: CallContext, method: str, model: str, admission: Admission | None = None
    ) -> CallGroup:
        """Begin to answer a request; ``method`` names it in its record. ``admission`` is asked before each of
        its calls."""
        return CallGroup(self, Record(context, method, model, self.clock(), admission), admission)

    def absent(self, model: str) -> InferloomError:
        """The error for a model that cannot be called now."""
        return absent(self._fleet, model, self.clock())

    def missing(self, model: str) -> InferloomError | None:
        """The error for a model that does not exist; None: it does, or did not long ago.

        Raises:
            InferloomError: That cannot be said now.
        """
        if self._fleet.knows(model, self.clock()):
            return None
        error = self.absent(model)
        if error.reason is not Reason.MODEL_NOT_FOUND:
            raise error
        return error

    def stream(
        self,
        group: CallGroup,
        request: Request,
        progress: Progress[Request, Event],
        asked: Request | None = None,
    ) -> Stream[Request, Event]:
        """A stream for ``request``, which is not begun. ``asked`` is what was asked at first, where
        ``request`` is the rest of it."""
        attempts = self._attempts(group, request, asked)
        return Stream(partial(self._open, group, attempts), attempts, progress)

    async def unary(self, group: CallGroup, request: UnaryRequest) -> Any:
        """Make a call that has one response, of the request's own type of it. Raises InferloomError."""
        attempts = self._attempts(group, request)
        try:
            call, response = await self._open(group, attempts, request)
            call.close()
            if isinstance(response, pb.RerankResponse):
                attempts.completed(response.usage, response.timings)
            else:
                attempts.answered()
            return response
        finally:
            attempts.close()

    def _attempts(self, group: CallGroup, request: AnyRequest, asked: AnyRequest | None = None) -> Attempts:
        task: pb.Task.ValueType | None = None
        keys = None
        if isinstance(request, pb.GenerateRequest):
            task = _INPUT_TASKS.get(request.WhichOneof("input") or "")
            keys = partial(prompt_keys, request)  # hashed only where there is a choice
        elif isinstance(request, pb.EmbedRequest):
            task = pb.TASK_EMBED
        elif isinstance(request, pb.RerankRequest):
            task = self._ranking_task(request.model)
        self._budget.request(self.clock())
        context = group.record.context
        suspicion = Suspicion(
            self._suspects,
            self._poison,
            context.tenant,
            request if asked is None else asked,
            context.request_id,
        )
        selection = Selection(
            self._fleet,
            self._router,
            group.pin,
            suspicion,
            self._absences,
            context,
            Ask(group.record.model, task, keys, request),
            "" if task is None else _TASK_NAMES[task],
        )
        return Attempts(
            selection,
            self._in_flight,
            self._budget,
            self.listeners,
            group.record,
            group.pin,
            suspicion,
            self._absences,
            self.clock,
        )

    def _workers_changed(self) -> None:
        self._absences.workers_changed(self.clock())
        self.turns.workers_changed()
        self._room.workers_changed()

    def _ranking_task(self, model: str) -> "pb.Task.ValueType | None":
        """What a model must be able to do to rank: just that, or give vectors, which its worker compares.
        None: no worker has it now."""
        tasks = {task for member in self._fleet.holding(model) for task in member.models[model].tasks}
        if not tasks:
            return None
        return pb.TASK_EMBED if pb.TASK_EMBED in tasks and pb.TASK_RERANK not in tasks else pb.TASK_RERANK

    async def _open(
        self, group: CallGroup, attempts: Attempts, request: AnyRequest
    ) -> tuple[WorkerCall[Any], Any]:
        """Call one worker after another until one accepts; return the call and its first event.

        Raises:
            InferloomError: None does.
        """
        with Visit(self._room, attempts.selection, group.record) as visit:
            while True:
                if not attempts.resuming:  # what has begun waits for nobody who has not
                    await visit.turn()
                opened = await self._ask(attempts, request, visit)
                if opened is not None:
                    return opened

    async def _ask(
        self, attempts: Attempts, request: AnyRequest, visit: Visit
    ) -> tuple[WorkerCall[Any], Any] | None:
        """Call the next worker. None: it does not accept, and another may.

        Raises:
            InferloomError: None does.
        """
        member = attempts.next()
        if member is None:
            visit.pass_on()  # what it waits for is not what those behind it do
            member = await self.turns.member(attempts)
        begin, silence_s = self._calling(member, request, attempts.context(request))
        call: WorkerCall[Any] = WorkerCall(member, self._in_flight, self._watch, silence_s)
        try:
            first = await call.start(begin).read()
            if first is None:
                raise CallFailedError(attempt.broken())
            attempts.accepted(member, _compute_hash(first))
        except CallFailedError as failure:
            call.close()
            attempts.failed(member, failure.verdict)
            return None
        except BaseException:
            call.close()
            raise
        return call, first

    def _calling(
        self, member: Member, request: AnyRequest, context: CallContext
    ) -> tuple[Callable[[CallSink[Any]], RunningCall], float]:
        """How ``member`` is called, and how long it may then be silent."""
        link = self._connections.line(member)
        if isinstance(request, pb.GenerateRequest):
            return partial(link.generate, request, context), patience(member, request.model)
        if isinstance(request, pb.EmbedRequest):
            return partial(link.embed, request, context), math.inf
        return partial(link.unary, request, context), math.inf


def _compute_hash(first: Any) -> str:
    """What a worker says that it computes with, in its first event."""
    if isinstance(first, (pb.GenerateResponse, pb.EmbedResponse)):
        return first.started.compute_hash
    return first.compute_hash if isinstance(first, pb.RerankResponse) else ""
