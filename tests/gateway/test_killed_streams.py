"""Streams whose workers are killed, one after another or together: they outlast them."""

import asyncio
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.link import CallFailedError, CallSink
from inferloom_gateway.calls.poison import BARRED_S
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason
from tests.gateway.answering import AnsweringCall
from tests.gateway.dying_workers import DRAINS, TOKENS, Generating
from tests.gateway.samples import entry
from tests.gateway.virtual_time import run
from tests.gateway.waiting_mesh import READY, Mesh, Refusing, state


def test_streams_outlast_workers_that_are_killed_one_after_another() -> None:
    """A rolling restart by SIGKILL: each of them is lost with all that it has, and comes back."""

    async def rolling() -> tuple[list[Any], int]:
        mesh, names = Mesh(), [f"w{number}" for number in range(3)]
        mesh.kinds = dict.fromkeys(names, Generating)
        mesh.token_s = 0.02
        mesh.tell(*(state(name, READY) for name in names))
        asked = mesh.ask(30)
        lost = 0
        for number, name in enumerate(names):
            await asyncio.sleep(1.5)
            lost += len(mesh.links[name].open)
            others = [state(each, READY, epoch=2) for each in names[:number]]
            others += [state(each, READY) for each in names[number + 1 :]]
            mesh.lose(name, *others)
            await asyncio.sleep(0.5)
            mesh.tell(state(name, READY, epoch=2), *others)
        return await mesh.answers(asked), lost

    answers, lost = run(rolling())
    assert answers == [TOKENS] * 30
    assert lost > 30


def test_streams_outlast_two_workers_that_are_killed_at_nearly_the_same_time() -> None:
    """However few tokens they got between: of many that were on both, none is known to have done it."""

    async def killing() -> tuple[list[Any], int]:
        mesh, names = Mesh(), [f"w{number}" for number in range(3)]
        mesh.kinds = dict.fromkeys(names, Generating)
        mesh.token_s = 0.02
        states = [state(name, READY) for name in names]
        mesh.tell(*states)
        asked = mesh.ask(30)
        await asyncio.sleep(1)
        mesh.lose("w0", *states[1:])
        await asyncio.sleep(0.3)
        moved = sum(link.asked for link in mesh.links.values()) - 30
        mesh.lose("w1", *states[2:])
        return await mesh.answers(asked), moved

    answers, moved = run(killing())
    assert answers == [TOKENS] * 30
    assert moved > 5


@pytest.mark.parametrize("drains", [True, False])
def test_a_stream_whose_workers_end_one_after_another_is_told_when_to_ask_again(drains: bool) -> None:
    """The fourth that is killed under it ends it; those that drain are not held against it."""

    async def rolling() -> tuple[InferloomError | None, bool]:
        mesh, names = Mesh(), [f"w{number}" for number in range(6)]
        mesh.kinds = dict.fromkeys(names, Generating)
        mesh.token_s = 0.02
        mesh.tell(*(state(name, READY) for name in names))
        links = [mesh.link(name) for name in names]
        asked = mesh.ask(1)
        for _ in range(5):
            await asyncio.sleep(1)
            for link in links:
                for sink in list(link.open):
                    if drains:
                        link.always = DRAINS
                        link.left(sink)
                        sink.end(CallFailedError(attempt.refused(DRAINS)))
                    else:
                        link.dead = True
                        link.lose()
        await asyncio.wait(asked)
        told = asked[0].exception()
        assert told is None or isinstance(told, InferloomError)
        again = await mesh.answers(mesh.ask(1))
        return told, again == [TOKENS]

    told, again = run(rolling())
    if drains:
        assert told is None
        assert again
        return
    assert told is not None
    assert told.reason is Reason.REQUEST_BARRED
    assert told.retry_after == pytest.approx(4 * BARRED_S, abs=30)


class Accepting(Refusing):
    """One that takes its time to accept."""

    def generate(
        self, request: pb.GenerateRequest, context: CallContext, sink: CallSink[pb.GenerateResponse]
    ) -> AnsweringCall:
        """Accept the call after a second, and give it its first token a second later."""
        loop = asyncio.get_running_loop()
        started = pb.GenerateResponse(started=pb.Started(seed=1, prompt_token_ids=[1, 2]))
        delta = pb.GenerateResponse(delta=pb.Delta(text="x", token_ids=[1]))
        self.open[sink] = [loop.call_later(1, sink.take, started), loop.call_later(2, sink.take, delta)]
        return AnsweringCall(self, sink)


def test_a_stream_goes_on_whose_workers_card_was_gone_before_it_was_accepted() -> None:
    """By the card of the moment in which the worker was chosen."""

    async def going() -> list[Any]:
        mesh = Mesh()
        mesh.kinds["w0"] = Accepting
        mesh.tell(state("w0", READY))
        asked = mesh.ask(1)
        await asyncio.sleep(0.5)
        mesh.tell(entry("w0", models=()), state("w1", READY))
        await asyncio.sleep(2)
        mesh.lose("w0", state("w1", READY))
        return await mesh.answers(asked)

    assert run(going()) == [2]
