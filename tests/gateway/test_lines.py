"""The line before workers that are full."""

import asyncio
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2 as rpb
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.link import CallFailedError, CallSink
from inferloom_gateway.calls.listener import Listener
from inferloom_gateway.calls.records import Record
from inferloom_gateway.calls.waiting_line import WaitingLine
from inferloom_gateway.calls.waiting_room import WaitingRoom
from inferloom_gateway.fleet.ask import Wanted
from inferloom_gateway.fleet.members import Fleet
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason
from tests.gateway.answering import AnsweringCall
from tests.gateway.samples import CHAT, snapshot
from tests.gateway.virtual_time import run
from tests.gateway.waiting_mesh import CONSTRAINT, READY, Mesh, Plain, Refusing, constraining, good, state


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
        fleet, chat = Fleet(), Wanted("chat")
        fleet.apply(snapshot(state("w0", READY)), 0.0)
        room = WaitingRoom(fleet, 64, 2, asyncio.get_running_loop().time)
        line = room.line(chat)
        line.departed(0.0)
        line.departed(0.1)
        await asyncio.sleep(30)
        room.workers_changed()
        assert line.wait_s(0, 30.0) == pytest.approx(30)
        fleet.apply(snapshot(), 30.0)
        room.workers_changed()
        assert room.line(chat).wait_s(0, 30.0) is None

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


def test_whoever_gives_up_in_his_turn_passes_it_on() -> None:
    """He has waited for long enough, and the time that called him calls nobody else."""

    async def giving_up() -> list[Any]:
        mesh = Mesh(queue=64, room=0)
        mesh.tell(state("w0", READY))
        asked = mesh.ask(1)
        await asyncio.sleep(2)
        asked += mesh.ask(2, 1)
        await asyncio.sleep(1.6)
        assert asked[0].done()
        mesh.links["w0"].room = 1000
        return await mesh.answers(asked)

    assert run(giving_up()) == [Reason.SERVER_OVERLOADED, 1, 1]


def test_who_can_only_have_a_full_worker_waits_for_it() -> None:
    """Whatever others have room that do not honour what he asks; and he is not asked about more often."""

    async def full() -> tuple[list[Any], int]:
        mesh = Mesh(queue=64)
        mesh.kinds["w1"] = Plain
        mesh.tell(constraining("w0"), state("w1", READY))
        able = mesh.link("w0")
        able.room = 0
        asked = mesh.ask(3, constraint=CONSTRAINT)
        await asyncio.sleep(1.2)
        assert mesh.waiting.waiting == 3
        able.room = 1000
        return await mesh.answers(asked), able.asked

    answers, asked = run(full())
    assert answers == [1, 1, 1]
    assert asked <= 3 + 2 + 3


def test_who_waits_for_one_worker_holds_up_nobody_who_may_have_another() -> None:
    """There is a line for each kind of request."""

    async def mixed() -> tuple[list[Any], list[Any]]:
        mesh = Mesh(queue=64)
        mesh.kinds["w1"] = Plain
        mesh.tell(constraining("w0"), state("w1", READY))
        mesh.link("w0").room = 0
        waits = mesh.ask(3, constraint=CONSTRAINT)
        await asyncio.sleep(0.1)
        others = mesh.ask(8, 3)
        await asyncio.sleep(0.1)
        assert (mesh.waiting.waiting, mesh.link("w1").taken) == (3, 8)
        mesh.links["w0"].room = 1000
        return await asyncio.gather(*others), await mesh.answers(waits)

    others, waits = run(mixed())
    assert good(others)
    assert good(waits)


@pytest.mark.parametrize("parent", ["", "base"])
def test_who_ends_calls_those_who_wait_for_the_same_worker(parent: str) -> None:
    """Whatever they ask of its model, or of another that is computed with it; and not of one that is not."""

    async def ending() -> bool:
        mesh = Mesh(queue=64, room=1)
        mesh.kinds["w0"] = Judging
        there = state("w0", READY)
        there.worker.models.append(pb.Model(id="other", tasks=CHAT.tasks))
        for card in there.worker.models:
            card.parent = parent
        mesh.tell(there)
        mesh.link("w0").retry_s = 0.9
        first = mesh.ask(1)
        await asyncio.sleep(0.05)
        asked = mesh.ask(1, 9, model="other")
        await asyncio.sleep(0.05)
        assert mesh.waiting.waiting == 1
        await asyncio.wait(first)
        await asyncio.sleep(0.1)
        called = mesh.waiting.waiting == 0
        assert good(await mesh.answers([*first, *asked]))
        return called

    assert run(ending()) is bool(parent)


def honouring(name: str, *fields: str) -> rpb.RegisteredWorker:
    """A worker that honours some optional parameters."""
    found = state(name, READY)
    for card in found.worker.models:
        card.supported_parameters.extend(fields)
    return found


KINDS: list[dict[str, Any]] = [
    {"constraint": CONSTRAINT},
    {"cache_salt": "salt"},
    {"constraint": CONSTRAINT, "cache_salt": "salt"},
]
"""Fields of requests that not all workers honour, so that each kind has a line."""


def test_a_line_is_there_while_somebody_stands_in_it() -> None:
    """What kinds there are is up to who asks, and is not to be kept."""

    async def gone() -> None:
        mesh = Mesh(queue=64)
        mesh.kinds["w1"] = Plain
        mesh.tell(honouring("w0", "constraint", "cache_salt"), state("w1", READY))
        able = mesh.link("w0")
        able.room = 0
        asked = [each for fields in KINDS for each in mesh.ask(1, **fields)]
        await asyncio.sleep(0.2)
        assert len(mesh.waiting._lines) == 3
        able.room = 1000
        await asyncio.wait(asked)
        assert not mesh.waiting._lines
        await mesh.answers(asked)
        assert not mesh.waiting._timers

    run(gone())


def test_how_many_may_wait_is_told_for_each_model_in_whatever_lines_they_stand() -> None:
    """Who asks chooses the lines: with one for each kind, each could be full."""

    async def crowd() -> list[Any]:
        mesh = Mesh(queue=2)
        mesh.kinds["w1"] = Plain
        mesh.tell(honouring("w0", "constraint", "cache_salt"), state("w1", READY))
        able = mesh.link("w0")
        able.room = 0
        asked = [each for fields in KINDS for each in mesh.ask(2, **fields)]
        await asyncio.sleep(0.2)
        assert mesh.waiting.waiting == 2
        able.room = 1000
        return await mesh.answers(asked)

    answers = run(crowd())
    assert [answers.count(each) for each in (1, Reason.SERVER_OVERLOADED)] == [2, 4]


def test_who_stands_in_many_lines_keeps_nobody_else_out() -> None:
    """Tenants take turns, so that of each other's only as many count as one has himself, and one more."""
    lines = [WaitingLine(8, 2) for _ in range(9)]
    for line in lines[:8]:
        line.join("greedy", 0.0, None, 0.0, [each for each in lines if each is not line])
    with pytest.raises(InferloomError):
        lines[8].join("greedy", 0.0, None, 0.0, lines[:8])
    lines[8].join("modest", 0.0, None, 0.0, lines[:8])


def test_a_line_that_no_worker_is_there_for_is_gone() -> None:
    """Models come and go as well."""

    async def gone() -> None:
        fleet, chat = Fleet(), Wanted("chat")
        room = WaitingRoom(fleet, 64, 2, asyncio.get_running_loop().time)
        room.line(chat)
        room.look_at(chat, 60)
        room.workers_changed()
        assert not room._lines
        assert not room._timers

    run(gone())


def test_whoever_has_his_turn_and_stands_in_another_line_then_passes_it_on() -> None:
    """Workers that came tell requests apart: those behind him need not wait until something else happens."""

    async def changed() -> list[Any]:
        mesh = Mesh(queue=64, room=0)
        mesh.tell(honouring("w0", "cache_salt"))
        mesh.link("w0").retry_s = 0.9
        needs = mesh.ask(1, cache_salt="salt")
        await asyncio.sleep(0.05)
        asked = mesh.ask(3, 1)
        await asyncio.sleep(0.05)
        assert (mesh.waiting.waiting, len(mesh.waiting._lines)) == (4, 1)
        mesh.kinds["w1"], mesh.room = Plain, 1000
        mesh.tell(honouring("w0", "cache_salt"), state("w1", READY))
        await asyncio.sleep(0.1)
        assert (mesh.waiting.waiting, mesh.link("w1").taken) == (1, 3)
        mesh.links["w0"].room = 1000
        return await mesh.answers([*needs, *asked])

    assert good(run(changed()))


def test_lines_for_the_same_workers_take_turns() -> None:
    """Where one place becomes free, it is for who has waited longest, in whichever line."""

    async def crowded() -> int:
        mesh = judged(Mesh(queue=64, room=1))
        there = state("w0", READY)
        there.worker.models.append(pb.Model(id="adapter", tasks=CHAT.tasks, parent="chat"))
        mesh.tell(there)
        mesh.link("w0").retry_s = 0.9
        asked = mesh.ask(1)
        await asyncio.sleep(0.05)
        asked += [*mesh.ask(1), *mesh.ask(1, model="adapter")]
        other = asked[-1]
        await asyncio.sleep(0.05)
        assert mesh.waiting.waiting == 2
        asked += [each for _ in range(4) for each in mesh.ask(1)]
        await asyncio.wait([other])
        ended = sum(each.done() for each in asked)
        mesh.links["w0"].room = 1000
        assert good(await mesh.answers(asked))
        return ended

    assert run(crowded()) == 3
