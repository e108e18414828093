"""Calls that have no worker at the moment: until when they wait, and that they get one then."""

import asyncio
from typing import Any, cast

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2 as rpb
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.absences import FORGOTTEN_S, REFUSED_S
from inferloom_gateway.calls.dispatch import Dispatcher
from inferloom_gateway.calls.in_flight import InFlight
from inferloom_gateway.calls.link import CallFailedError, CallSink, WorkerLink
from inferloom_gateway.calls.listener import Listener, Listeners
from inferloom_gateway.calls.records import Record
from inferloom_gateway.calls.turns import LOOK_S
from inferloom_gateway.calls.waiting_line import WaitingLine
from inferloom_gateway.calls.waiting_room import WaitingRoom
from inferloom_gateway.fleet.connections import Connections
from inferloom_gateway.fleet.member import Member
from inferloom_gateway.fleet.members import Fleet
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason
from tests.gateway.samples import CHAT, EMBED, entry, snapshot
from tests.gateway.test_turns import Answering, AnsweringCall, Kept
from tests.gateway.virtual_time import run

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
            return AnsweringCall(self, sink)
        self.asked += 1
        says = self.always or (self.says.pop(0) if self.says else None)
        if says is None and len(self.open) >= self.room:
            says = InferloomError(Reason.SERVER_OVERLOADED, "Full.", retry_after=0.5)
        if says is None:
            return super().generate(request, context, sink)
        loop.call_soon(sink.end, CallFailedError(attempt.refused(says)))
        return AnsweringCall(self, sink)


class Mesh:
    """A gateway's dispatcher before workers that come and go. Made on its loop."""

    def __init__(self, *, absent_s: float = ABSENT_S, queue: int = 0, room: int = 1000) -> None:
        self.clock = asyncio.get_running_loop().time
        self.fleet = Fleet()
        self.links: dict[str, Refusing] = {}
        self.kinds: dict[str, type[Refusing]] = {}
        """What else than that workers are."""
        self.token_s = 0.05
        self.room = room
        connections: Connections[WorkerLink] = Connections(self._connect, 0)
        self.connections = connections
        self.waiting = WaitingRoom(queue, 2, self.clock)
        listeners = Listeners()
        listeners.add(self.waiting)
        self.dispatcher = Dispatcher(
            *(self.fleet, connections, InFlight(self.fleet, connections, 100_000, self.clock), listeners),
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

    def ask(self, count: int, first: int = 0) -> "list[asyncio.Task[int]]":
        """So many ask, each something else; each returns the tokens that it saw."""
        return [asyncio.create_task(self._ask(number)) for number in range(first, first + count)]

    async def _ask(self, number: int) -> int:
        context = CallContext(f"r{number}", self.clock() + 600)
        with self.dispatcher.group(context, "generate", "chat") as calls:
            request = pb.GenerateRequest(model="chat", text=f"{number} is asked")
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


def good(answers: list[Any]) -> bool:
    """Whether all were answered."""
    return all(isinstance(each, int) and each >= 1 for each in answers)


@pytest.mark.parametrize(
    ("count", "away_s", "refusals"), [(100, 20, 0), (10, 29.5, 0), (1, 30, 1), (10, 59, 3)]
)
def test_streams_that_waited_long_still_have_their_turns_and_rests(
    count: int, away_s: float, refusals: int
) -> None:
    """Once the worker is there, what they wait for is it, and no more for it to come."""

    async def restarting() -> list[Any]:
        mesh = Mesh()
        mesh.tell(state("w0", READY))
        asked = mesh.ask(count)
        await asyncio.sleep(1)
        mesh.lose("w0", state("w1", STARTING, "chat"))
        await asyncio.sleep(away_s)
        mesh.token_s = 0.3
        mesh.tell(state("w1", READY))
        mesh.link("w1").says = [InferloomError(Reason.SERVER_OVERLOADED, "Full.", retry_after=0.2)] * refusals
        return await mesh.answers(asked)

    assert good(run(restarting()))


def test_a_stream_asks_a_full_worker_for_ten_seconds() -> None:
    """And not for as long as that stays full."""

    async def full() -> tuple[list[Any], float]:
        mesh = Mesh()
        mesh.tell(state("w0", READY))
        asked = mesh.ask(1)
        await asyncio.sleep(1)
        mesh.room = 0
        mesh.lose("w0", state("w1", READY))
        began = mesh.clock()
        return await mesh.answers(asked), mesh.clock() - began

    answers, took_s = run(full())
    assert answers == [Reason.WORKER_LOST]
    assert took_s == pytest.approx(10, abs=1)


def test_a_restarted_worker_takes_who_stood_in_line_and_who_came_meanwhile() -> None:
    """A worker that was full before it went: the line does not outlive it."""

    async def restarting() -> list[Any]:
        mesh = Mesh(queue=64, room=2)
        mesh.tell(state("w0", READY))
        asked = mesh.ask(8)
        await asyncio.sleep(1)
        assert mesh.waiting.waiting == 6
        mesh.lose("w0")
        await asyncio.sleep(0.5)
        asked += mesh.ask(2)
        await asyncio.sleep(2.5)
        assert (mesh.waiting.waiting, mesh.dispatcher.turns.waiting) == (0, 10)
        mesh.room = 1000
        mesh.tell(state("w0", READY, epoch=2))
        return await mesh.answers(asked)

    assert good(run(restarting()))


def test_the_line_forms_again_before_a_restarted_worker_that_is_full() -> None:
    """As it was before: one after another has its turn."""

    async def restarting() -> list[Any]:
        mesh = Mesh(queue=64, room=4)
        mesh.tell(state("w0", READY))
        asked = mesh.ask(8)
        await asyncio.sleep(1)
        mesh.lose("w0")
        await asyncio.sleep(3)
        mesh.tell(state("w0", READY, epoch=2))
        await asyncio.sleep(1.5)
        assert mesh.waiting.waiting
        mesh.links["w0"].room = 1000
        return await mesh.answers(asked)

    assert good(run(restarting()))


class Judging(Refusing):
    """One that refuses what is wrong with all but two requests, once it has room for them."""

    def generate(
        self, request: pb.GenerateRequest, context: CallContext, sink: CallSink[pb.GenerateResponse]
    ) -> AnsweringCall:
        """Take the request for half a second, or refuse it."""
        loop = asyncio.get_running_loop()
        if len(self.open) < self.room and request.text not in ("0 is asked", "9 is asked"):
            wrong = InferloomError(Reason.INVALID_ARGUMENT, "Wrong.")
            loop.call_soon(sink.end, CallFailedError(attempt.refused(wrong)))
            return AnsweringCall(self, sink)
        call = super().generate(request, context, sink)
        if sink in self.open:
            self.open[sink].append(loop.call_later(0.5, self._end, sink))
        return call


def judged(mesh: Mesh) -> Mesh:
    """A mesh with one such worker, which has room for one request."""
    mesh.kinds["w0"] = Judging
    mesh.tell(state("w0", READY))
    return mesh


def test_whoever_is_refused_in_his_turn_passes_it_on() -> None:
    """Those behind him have the worker at once, and not when something else happens."""

    async def refused() -> tuple[list[Any], float]:
        mesh = judged(Mesh(queue=64, room=1))
        asked = mesh.ask(1)
        await asyncio.sleep(0.05)
        asked += mesh.ask(9, 1)
        return await mesh.answers(asked), mesh.clock()

    answers, ended = run(refused())
    assert answers == [1, *[Reason.INVALID_ARGUMENT] * 8, 1]
    assert ended == pytest.approx(1.0, abs=0.02)


class Leaving(Listener):
    """Leaves in the moment in which another has ended, who gave a turn to the first that waits."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[int]] = []

    def on_ended(self, record: Record) -> None:
        """Be cancelled."""
        while self.tasks:
            self.tasks.pop().cancel()


@pytest.mark.parametrize("count", [1, 3])
def test_whoever_leaves_in_his_turn_passes_it_on(count: int) -> None:
    """Before he has asked a worker."""

    async def left() -> tuple[list[Any], float]:
        mesh, leaving = judged(Mesh(queue=64, room=1)), Leaving()
        mesh.dispatcher.listeners.add(leaving)
        first = mesh.ask(1)
        await asyncio.sleep(0.05)
        leaving.tasks, staying = mesh.ask(count, 1), mesh.ask(1, 9)
        return await mesh.answers([*first, *staying]), mesh.clock()

    answers, ended = run(left())
    assert answers == [1, 1]
    assert ended == pytest.approx(1.0, abs=0.02)


def test_how_fast_places_became_free_before_an_absence_says_nothing_behind_it() -> None:
    """A line whose workers were away for long would be estimated to be slow."""

    async def away() -> None:
        room = WaitingRoom(64, 2, asyncio.get_running_loop().time)
        line = room._lines["chat"] = WaitingLine(64, 2)
        line.departed(0.0)
        line.departed(0.1)
        await asyncio.sleep(30)
        room.workers_changed(lambda model: True)
        assert line.wait_s(0, 30.0) == pytest.approx(30)
        room.workers_changed(lambda model: False)
        assert line.wait_s(0, 30.0) is None

    run(away())


def test_a_worker_that_comes_calls_the_line() -> None:
    """Where no call ends that would."""

    async def coming() -> list[Any]:
        mesh = Mesh(queue=64, room=2)
        mesh.tell(state("w0", READY))
        asked = mesh.ask(8)
        await asyncio.sleep(0.7)
        mesh.tell(state("w0", READY), state("w1", READY))
        mesh.links["w0"].room = 0
        mesh.room = 1000
        await asyncio.sleep(0.2)
        assert mesh.waiting.waiting == 0
        return await mesh.answers(asked)

    assert good(run(coming()))


def test_a_worker_that_comes_late_is_no_reason_to_look_all_the_time() -> None:
    """Suspects whose waiting for a worker would be over wait their turn like all."""

    async def late() -> tuple[list[Any], int]:
        mesh = Mesh()
        mesh.token_s = 100
        mesh.tell(state("w0", READY))
        asked = mesh.ask(100)
        await asyncio.sleep(1)
        mesh.lose("w0")
        await asyncio.sleep(9.8)
        mesh.token_s = 1
        mesh.tell(state("w1", READY))
        return await mesh.answers(asked), mesh.dispatcher.turns.calls

    answers, looks = run(late())
    assert good(answers)
    assert looks <= 100 * (9.8 / LOOK_S + 2)


def test_a_second_restart_is_waited_for_like_the_first() -> None:
    """Its time begins anew once a worker was there."""

    async def twice() -> list[Any]:
        mesh = Mesh()
        mesh.tell(state("w0", READY))
        mesh.tell()
        asked = mesh.ask(1)
        await asyncio.sleep(6)
        mesh.token_s = 100
        mesh.tell(state("w0", READY, epoch=2))
        await asyncio.sleep(1)
        mesh.lose("w0")
        await asyncio.sleep(6)
        mesh.token_s = 0.05
        mesh.tell(state("w0", READY, epoch=3))
        return await mesh.answers(asked)

    assert good(run(twice()))


NOT_NOW = InferloomError(Reason.NO_WORKER, "Not just now.", retry_after=1.4)


def test_a_worker_that_says_not_now_is_asked_again_after_its_own_time() -> None:
    """Where it stays ready, and nothing tells that another comes: for a short while, from the first that was
    told so; who comes later is told at once."""

    async def refusing(says: int) -> tuple[list[Any], list[Any], float, int]:
        mesh = Mesh()
        mesh.tell(state("w0", READY))
        worker = mesh.link("w0")
        worker.says = [NOT_NOW] * says
        asked = mesh.ask(1)
        for number in range(4):
            await asyncio.sleep(0.7)
            mesh.tell(state("w0", READY), entry(f"other{number}", models=()))
        first = await asyncio.gather(*asked, return_exceptions=True)
        took_s, count = mesh.clock(), worker.asked
        second = await mesh.answers(mesh.ask(1))
        assert (worker.asked, mesh.clock() - took_s < 0.1) == (count + 1, says > 10)
        return [getattr(each, "reason", each) for each in first], second, took_s, count

    first, second, _, count = run(refusing(2))
    assert good(first)
    assert good(second)
    assert count == 3
    first, second, took_s, count = run(refusing(100))
    assert (first, second) == ([Reason.NO_WORKER], [Reason.NO_WORKER])
    assert took_s <= REFUSED_S
    assert count == 3


def test_who_can_only_be_answered_later_is_told_at_once() -> None:
    """By what the only worker says of itself; and with it when to ask again."""

    async def refusing(retry_s: float) -> tuple[InferloomError, float]:
        mesh = Mesh()
        mesh.tell(state("w0", READY))
        mesh.link("w0").always = InferloomError(Reason.NO_WORKER, "Not for long.", retry_after=retry_s)
        [error] = await asyncio.gather(*mesh.ask(1), return_exceptions=True)
        took_s = mesh.clock()
        await mesh.answers([])
        assert isinstance(error, InferloomError)
        return error, took_s

    error, took_s = run(refusing(30))
    assert (error.reason, error.retry_after, took_s) == (Reason.NO_WORKER, 30, 0)
    error, took_s = run(refusing(2))
    assert error.retry_after == 2
    assert took_s == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("why", ["another loads it", "it drains", "no registry tells"])
def test_where_a_worker_may_come_one_that_says_not_now_is_asked_for_longer(why: str) -> None:
    """As long as one that is lost is waited for."""

    async def refusing() -> list[Any]:
        mesh = Mesh()
        loads = [state("w1", STARTING, "chat")] if why == "another loads it" else []
        mesh.tell(state("w0", READY), *loads)
        mesh.fleet.followed = why != "no registry tells"
        mesh.link("w0").always = NOT_NOW
        asked = mesh.ask(3)
        await asyncio.sleep(2)
        if why == "it drains":
            mesh.tell(state("w0", DRAINING))
        await asyncio.sleep(7)
        mesh.links["w0"].always = None
        if why == "it drains":
            mesh.tell(state("w0", READY, epoch=2))
        return await mesh.answers(asked)

    assert good(run(refusing()))


def test_what_a_worker_said_long_ago_is_no_reason_to_refuse() -> None:
    """Whether or not a call has shown since that it serves again."""

    async def refusing() -> tuple[list[Any], list[Any]]:
        mesh = Mesh()
        mesh.tell(state("w0", READY))
        worker = mesh.link("w0")
        worker.always = NOT_NOW
        first = await asyncio.gather(*mesh.ask(1), return_exceptions=True)
        await asyncio.sleep(FORGOTTEN_S + 1)
        worker.always, worker.says = None, [NOT_NOW]
        return first, await mesh.answers(mesh.ask(2))

    first, second = run(refusing())
    assert isinstance(first[0], InferloomError)
    assert good(second)


def test_one_call_does_not_ask_all_that_have_said_not_now_to_others() -> None:
    """So that workers which stop together get no more calls than there are; and it is answered by the one
    that takes it."""

    async def refusing(count: int) -> tuple[list[Any], int]:
        mesh = Mesh()
        workers = [state(f"w{number}", READY) for number in range(count)]
        mesh.tell(*workers)
        for each in workers:
            mesh.link(each.worker.id).always = NOT_NOW
        waits = mesh.ask(1)
        await asyncio.sleep(0.1)
        before = sum(link.asked for link in mesh.links.values())
        assert before == count
        waits += mesh.ask(20)
        await asyncio.sleep(0.1)
        asked = sum(link.asked for link in mesh.links.values()) - before
        mesh.links["w0"].always = None
        return await mesh.answers(waits), asked

    answers, asked = run(refusing(10))
    assert good(answers)
    assert asked == 20


def there_without(*loading: str) -> rpb.RegisteredWorker:
    """A worker that is ready with another model, and says that it loads these."""
    other = entry("w0", models=(EMBED,), capacity=1000)
    other.worker.loading.extend(loading)
    return other


@pytest.mark.parametrize("begins", ["before", "meanwhile"])
def test_a_model_that_comes_back_at_its_worker_is_waited_for(begins: str) -> None:
    """One of several models of a worker, which is ready all the time, such as one whose server restarts."""

    async def returning() -> list[Any]:
        mesh = Mesh()
        both = entry("w0", models=(CHAT, EMBED), capacity=1000)
        mesh.tell(both)
        worker = mesh.link("w0")
        worker.always = InferloomError(Reason.WORKER_LOST, "The model's server was lost.")
        asked = mesh.ask(3) if begins == "before" else []
        await asyncio.sleep(0.1)
        mesh.tell(there_without("chat"))
        worker.always = None
        asked += mesh.ask(3) if begins == "meanwhile" else []
        await asyncio.sleep(3)
        assert mesh.dispatcher.turns.waiting == 3
        mesh.tell(both)
        return await mesh.answers(asked)

    assert good(run(returning()))


def test_a_model_that_was_unloaded_is_not_waited_for() -> None:
    """Whether the registry or its worker says so first."""

    async def unloaded(told: bool) -> tuple[list[Any], float]:
        mesh = Mesh()
        mesh.tell(entry("w0", models=(CHAT, EMBED)))
        mesh.link("w0").always = InferloomError(Reason.MODEL_NOT_FOUND, "There is no such model.")
        if told:
            mesh.tell(there_without())
        return await mesh.answers(mesh.ask(2)), mesh.clock()

    for told in (True, False):
        answers, took_s = run(unloaded(told))
        assert answers == [Reason.MODEL_NOT_FOUND] * 2
        assert took_s < 0.1


@pytest.mark.parametrize("drains", [True, False])
def test_a_worker_that_says_itself_that_it_is_lost_is_waited_for(drains: bool) -> None:
    """Whether the registry hears of it before it is back, or not."""

    async def breaking() -> list[Any]:
        mesh = Mesh()
        mesh.tell(state("w0", READY))
        worker = mesh.link("w0")
        worker.always = InferloomError(Reason.WORKER_LOST, "The engine is broken.")
        asked = mesh.ask(5)
        await asyncio.sleep(0.05)
        if drains:
            mesh.tell(state("w0", DRAINING))
        await asyncio.sleep(2)
        assert mesh.dispatcher.turns.waiting == 5
        worker.always = None
        mesh.tell(state("w0", READY, epoch=1 if drains else 2))
        return await mesh.answers(asked)

    assert good(run(breaking()))


def test_a_broken_worker_holds_up_no_line() -> None:
    """Who stood in line finds out for himself, and waits for the next."""

    async def breaking() -> list[Any]:
        mesh = Mesh(queue=64, room=2)
        mesh.tell(state("w0", READY))
        asked = mesh.ask(8)
        await asyncio.sleep(1)
        worker = mesh.links["w0"]
        worker.always = InferloomError(Reason.WORKER_LOST, "The engine is broken.")
        for sink in list(worker.open):
            worker.left(sink)
            sink.end(CallFailedError(attempt.refused(worker.always)))
        await asyncio.sleep(1)
        assert (mesh.waiting.waiting, mesh.dispatcher.turns.waiting) == (0, 8)
        worker.always = None
        worker.room = 1000
        mesh.tell(state("w0", READY, epoch=2))
        return await mesh.answers(asked)

    assert good(run(breaking()))


def test_a_worker_that_stood_still_is_asked_again_by_its_streams() -> None:
    """Under its old epoch, if it is the only one."""

    async def standing() -> list[Any]:
        mesh = Mesh()
        mesh.tell(state("w0", READY))
        asked = mesh.ask(3)
        await asyncio.sleep(1)
        [member] = mesh.fleet.members()
        mesh.links["w0"].lose()
        await asyncio.sleep(4)
        assert mesh.dispatcher.turns.waiting == 3
        member.health.reachable = True
        mesh.dispatcher.turns.workers_changed()
        return await mesh.answers(asked)

    assert good(run(standing()))
