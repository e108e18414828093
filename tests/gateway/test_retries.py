"""Calls whose workers fail, or are lost before they began: they go on, and there is no storm."""

import asyncio
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.link import CallFailedError, CallSink
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason
from tests.gateway.answering import AnsweringCall
from tests.gateway.dying_workers import DRAINS
from tests.gateway.samples import CHAT, entry
from tests.gateway.virtual_time import run
from tests.gateway.waiting_mesh import DRAINING, READY, Mesh, Refusing, good, state

CALLS = 60


def test_calls_that_were_lost_twice_before_their_first_token_go_on() -> None:
    """All that no worker was lost with alone, and not a fifth of them."""

    async def losing() -> list[Any]:
        mesh = Mesh()
        mesh.token_s = 4
        others = [state("w1", READY), state("w2", READY)]
        mesh.tell(state("w0", READY))
        asked = mesh.ask(CALLS)
        await asyncio.sleep(1)
        mesh.lose("w0", *others)
        await asyncio.sleep(2)
        assert len(mesh.links["w1"].open) > CALLS / 4
        mesh.links["w2"].token_s = 0.2
        mesh.lose("w1", others[1])
        return await mesh.answers(asked)

    assert good(run(losing()))


@pytest.mark.parametrize("accepted", [True, False])
def test_calls_of_a_lost_worker_wait_for_one_that_says_not_now(accepted: bool) -> None:
    """Whether or not the first one had accepted them."""

    async def losing() -> list[Any]:
        mesh = Mesh()
        mesh.token_s = 4
        mesh.tell(state("w0", READY))
        mesh.link("w0").dead = not accepted
        asked = mesh.ask(CALLS)
        await asyncio.sleep(1 if accepted else 0)
        mesh.token_s = 0.05
        mesh.tell(state("w0", READY), state("w1", READY))
        mesh.link("w1").always = DRAINS
        mesh.lose("w0", state("w1", READY))
        await asyncio.sleep(2)
        mesh.tell(state("w1", DRAINING))
        await asyncio.sleep(2)
        mesh.links["w1"].always = None
        mesh.tell(state("w1", READY, epoch=2))
        return await mesh.answers(asked)

    assert good(run(losing()))


def test_full_workers_are_asked_again_from_the_budget_only() -> None:
    """Also where there is no line before them."""

    async def crowding() -> tuple[list[Any], int]:
        mesh = Mesh(room=0)
        workers = [state(f"w{number}", READY) for number in range(10)]
        mesh.tell(*workers)
        answers = await mesh.answers(mesh.ask(CALLS))
        return answers, sum(link.asked for link in mesh.links.values())

    answers, asked = run(crowding())
    assert answers == [Reason.SERVER_OVERLOADED] * CALLS
    assert CALLS < asked <= 1.25 * CALLS


class Broken(Refusing):
    """One that takes calls, and ends each without a word."""

    def generate(
        self, request: pb.GenerateRequest, context: CallContext, sink: CallSink[pb.GenerateResponse]
    ) -> AnsweringCall:
        """Fail."""
        self.asked += 1
        loop = asyncio.get_running_loop()
        loop.call_soon(sink.end, CallFailedError(attempt.broken()))
        return AnsweringCall(self, sink)


def test_calls_on_a_worker_that_is_ejected_go_on() -> None:
    """It gets no more, so that they are no storm: those before that draw from the budget."""

    async def failing() -> tuple[list[Any], int]:
        mesh = Mesh()
        mesh.kinds["w0"] = Broken
        mesh.tell(state("w0", READY), state("w1", READY))
        bad = mesh.link("w0")
        return await mesh.answers(mesh.ask(CALLS)), bad.asked

    answers, failed = run(failing())
    assert good(answers)
    assert failed > CALLS / 4


class HalfBroken(Refusing):
    """One that fails all that is asked of one of its models."""

    def generate(
        self, request: pb.GenerateRequest, context: CallContext, sink: CallSink[pb.GenerateResponse]
    ) -> AnsweringCall:
        """Fail, or take the request for the other."""
        if request.model == "chat":
            self.says = [InferloomError(Reason.SERVER_ERROR, "Something is wrong with it.")]
        return super().generate(request, context, sink)


def test_a_worker_with_one_broken_model_is_left_alone_for_that() -> None:
    """Its other models are asked for as before, whatever else holds them."""

    async def failing() -> tuple[list[Any], int, int]:
        mesh = Mesh()
        mesh.kinds["w0"] = HalfBroken
        both = (CHAT, pb.Model(id="other", tasks=CHAT.tasks))
        mesh.tell(*(entry(name, models=both, capacity=1000) for name in ("w0", "w1")))
        half = mesh.link("w0")
        await asyncio.gather(*mesh.ask(CALLS), return_exceptions=True)
        failed = half.asked
        asked = mesh.ask(CALLS) + mesh.ask(CALLS, model="other")
        answers = await mesh.answers(asked)
        return answers, failed, half.asked - failed

    answers, failed, others = run(failing())
    assert good(answers)
    assert failed >= 5
    assert others > CALLS / 4


class HalfLost(Refusing):
    """One whose own server for one of its models was lost."""

    def generate(
        self, request: pb.GenerateRequest, context: CallContext, sink: CallSink[pb.GenerateResponse]
    ) -> AnsweringCall:
        """Say so, or take the request for the other."""
        if request.model == "chat":
            self.says = [InferloomError(Reason.WORKER_LOST, "The model's server was lost.", retry_after=5)]
        return super().generate(request, context, sink)


def test_a_worker_that_lost_one_of_its_models_has_calls_for_the_others() -> None:
    """What it says of the one keeps calls for that from it, and no others."""

    async def lost() -> tuple[list[Any], int]:
        mesh = Mesh()
        mesh.kinds["w0"] = HalfLost
        both = (CHAT, pb.Model(id="other", tasks=CHAT.tasks))
        mesh.tell(*(entry(name, models=both, capacity=1000) for name in ("w0", "w1")))
        half = mesh.link("w0")
        asked = mesh.ask(CALLS)
        await asyncio.sleep(1)
        before = half.asked
        asked += mesh.ask(CALLS, CALLS)
        await asyncio.sleep(1)
        assert half.asked == before
        asked += mesh.ask(CALLS, 2 * CALLS, model="other")
        return await mesh.answers(asked), half.taken

    answers, taken = run(lost())
    assert good(answers)
    assert taken > CALLS / 4


def test_a_request_that_never_left_the_gateway_is_no_suspect() -> None:
    """However many workers it finds gone."""

    async def gone() -> list[Any]:
        mesh, names = Mesh(), [f"w{number}" for number in range(6)]
        mesh.tell(*(state(name, READY) for name in names))
        for name in names[:-1]:
            mesh.link(name).dead = True
        return await mesh.answers(mesh.ask(8))

    assert good(run(gone()))


class Tokenizing(Refusing):
    """One that answers at once, or is lost with a call after a while."""

    def unary(self, request: Any, context: CallContext, sink: CallSink[Any]) -> AnsweringCall:
        """Take the request."""
        loop = asyncio.get_running_loop()
        if self.dead:
            loop.call_later(0.2, sink.end, CallFailedError(attempt.lost()))
        else:
            loop.call_soon(sink.take, pb.TokenizeResponse(token_ids=[1]))
        return AnsweringCall(self, sink)


def test_a_call_with_one_response_leaves_nothing_behind_where_it_moved_to() -> None:
    """It was a suspect until it was answered, and then it is over."""

    async def moving() -> tuple[Any, Mesh]:
        mesh = Mesh()
        mesh.kinds = dict.fromkeys(("w0", "w1"), Tokenizing)
        mesh.tell(state("w0", READY))
        mesh.link("w0").dead = True
        with mesh.dispatcher.group(CallContext("r", mesh.clock() + 600), "tokenize", "chat") as calls:
            asked = asyncio.create_task(calls.tokenize(pb.TokenizeRequest(model="chat", text="a")))
            await asyncio.sleep(0.1)
            mesh.tell(state("w0", READY), state("w1", READY))
            answer = await asked
        assert not await mesh.answers([])
        return answer, mesh

    answer, mesh = run(moving())
    assert answer.token_ids == [1]
    suspects = mesh.dispatcher._suspects
    assert suspects._blamed
    assert [suspects._on, suspects._where, suspects._marked, suspects._where_marked] == [{}] * 4
