"""A gateway's dispatcher before workers that come, go, refuse and die, in virtual time."""

import asyncio
from typing import Any, cast

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2 as rpb
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.dispatch import Dispatcher
from inferloom_gateway.calls.in_flight import InFlight
from inferloom_gateway.calls.link import CallFailedError, CallSink, WorkerLink
from inferloom_gateway.calls.listener import Listeners
from inferloom_gateway.calls.waiting_room import WaitingRoom
from inferloom_gateway.fleet.connections import Connections
from inferloom_gateway.fleet.member import Member
from inferloom_gateway.fleet.members import Fleet
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason
from tests.gateway.answering import Answering, AnsweringCall, Kept
from tests.gateway.samples import entry, snapshot

READY, STARTING, DRAINING = (
    rpb.WORKER_STATE_READY,
    rpb.WORKER_STATE_STARTING,
    rpb.WORKER_STATE_DRAINING,
)
ABSENT_S = 10.0


class Refusing(Answering):
    """One that refuses: what it has no room for, and what it is told to."""

    def __init__(self, token_s: float, room: int) -> None:
        super().__init__(token_s)
        self.room = room
        self.retry_s = 0.5
        """When it has room again, as it says."""
        self.says: list[InferloomError] = []
        """What it says to the next calls."""
        self.always: InferloomError | None = None
        self.asked = 0
        self.dead = False
        """Whether nobody is there."""

    def generate(
        self, request: pb.GenerateRequest, context: CallContext, sink: CallSink[pb.GenerateResponse]
    ) -> AnsweringCall:
        """Take the request, or refuse it."""
        loop = asyncio.get_running_loop()
        if self.dead:
            loop.call_soon(sink.end, CallFailedError(attempt.lost()))
            return AnsweringCall(self, sink, sent=False)
        self.asked += 1
        says = self.always or (self.says.pop(0) if self.says else None)
        if says is None and len(self.open) >= self.room:
            says = InferloomError(Reason.SERVER_OVERLOADED, "Full.", retry_after=self.retry_s)
        if says is None:
            return super().generate(request, context, sink)
        loop.call_soon(sink.end, CallFailedError(attempt.refused(says)))
        return AnsweringCall(self, sink)


class Plain(Refusing):
    """One that honours no constraints, and says so."""

    def generate(
        self, request: pb.GenerateRequest, context: CallContext, sink: CallSink[pb.GenerateResponse]
    ) -> AnsweringCall:
        """Take the request, or refuse it."""
        if request.HasField("constraint"):
            self.says = [InferloomError(Reason.UNSUPPORTED_PARAMETER, "No constraints.")]
        return super().generate(request, context, sink)


class Mesh:
    """A gateway's dispatcher before workers that come and go. Made on its loop."""

    def __init__(
        self, *, absent_s: float = ABSENT_S, queue: int = 0, room: int = 1000, most: int = 100_000
    ) -> None:
        self.clock = asyncio.get_running_loop().time
        self.fleet = Fleet()
        self.links: dict[str, Refusing] = {}
        self.kinds: dict[str, type[Refusing]] = {}
        """What else than that workers are."""
        self.token_s = 0.05
        self.room = room
        connections: Connections[WorkerLink] = Connections(self._connect, 0)
        self.connections = connections
        self.waiting = WaitingRoom(self.fleet, queue, 2, self.clock)
        listeners = Listeners()
        listeners.add(self.waiting)
        self.dispatcher = Dispatcher(
            *(self.fleet, connections, InFlight(self.fleet, connections, most, self.clock), listeners),
            self.clock,
            room=self.waiting,
            absent_wait_s=absent_s,
        )

    def _connect(self, member: Member) -> WorkerLink:
        kind = self.kinds.get(member.id, Refusing)
        link = self.links[member.id] = kind(self.token_s, self.room)
        return cast("WorkerLink", link)

    def link(self, name: str) -> Refusing:
        """The link to a worker."""
        member = self.fleet.member(name)
        assert member is not None
        self.connections.line(member)
        return self.links[name]

    def tell(self, *workers: rpb.RegisteredWorker) -> None:
        """These are the workers now."""
        for member in self.fleet.apply(snapshot(*workers), self.clock()):
            self.connections.retire(member)
        for member in self.fleet.members():
            for card in member.models.values():
                if "resume" not in card.supported_parameters:
                    card.supported_parameters.append("resume")

    def lose(self, name: str, *others: rpb.RegisteredWorker) -> None:
        """Lose a worker; these are left."""
        link = self.links[name]
        self.tell(*others)
        link.lose()

    def ask(self, count: int, first: int = 0, **fields: Any) -> "list[asyncio.Task[int]]":
        """So many ask, each something else with these fields; each returns the tokens that it saw."""
        return [asyncio.create_task(self._ask(number, fields)) for number in range(first, first + count)]

    async def _ask(self, number: int, fields: dict[str, Any]) -> int:
        context = CallContext(f"r{number}", self.clock() + 600)
        request = pb.GenerateRequest(**{"model": "chat", "text": f"{number} is asked", **fields})
        with self.dispatcher.group(context, "generate", request.model) as calls:
            return (await calls.collect(request, Kept)).tokens_seen

    async def answers(self, tasks: "list[asyncio.Task[int]]") -> list[Any]:
        """What became of them: tokens, or the reason why not."""
        found = await asyncio.gather(*tasks, return_exceptions=True)
        await self.connections.close()
        self.waiting.close()
        assert self.dispatcher.turns.waiting == 0
        assert self.waiting.waiting == 0
        return [each.reason if isinstance(each, InferloomError) else each for each in found]


def state(name: str, kind: rpb.WorkerState.ValueType, *loading: str, epoch: int = 1) -> rpb.RegisteredWorker:
    """A worker in some state; one that starts holds nothing."""
    found = entry(name, state=kind, epoch=epoch, capacity=1000)
    if kind == STARTING:
        del found.worker.models[:]
    found.worker.loading.extend(loading)
    return found


CONSTRAINT = pb.Constraint(json_schema="{}")


def constraining(
    name: str, kind: rpb.WorkerState.ValueType = READY, *, epoch: int = 1
) -> rpb.RegisteredWorker:
    """A worker that honours constraints."""
    found = state(name, kind, epoch=epoch)
    for card in found.worker.models:
        card.supported_parameters.append("constraint")
    return found


def good(answers: list[Any]) -> bool:
    """Whether all were answered."""
    return all(isinstance(each, int) and each >= 1 for each in answers)
