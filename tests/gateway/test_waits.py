"""Calls that have no worker at the moment: until when they wait, and that they get one then."""

import asyncio
from typing import Any

import pytest

from inferloom_gateway.calls.turns import LOOK_S
from inferloom_mesh.errors import InferloomError, Reason
from tests.gateway.virtual_time import run
from tests.gateway.waiting_mesh import CONSTRAINT, READY, STARTING, Mesh, Plain, constraining, good, state


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


def test_a_stream_that_only_one_worker_can_go_on_with_waits_for_it() -> None:
    """One that honours what it asks, while another is there that would refuse it."""

    async def restarting() -> list[Any]:
        mesh = Mesh()
        mesh.kinds["w1"] = Plain
        other = state("w1", READY)
        mesh.tell(constraining("w0"), other)
        asked = mesh.ask(3, constraint=CONSTRAINT)
        await asyncio.sleep(1)
        mesh.lose("w0", other)
        await asyncio.sleep(2)
        assert mesh.dispatcher.turns.waiting == 3
        mesh.tell(constraining("w0", epoch=2), other)
        return await mesh.answers(asked)

    assert good(run(restarting()))


def test_streams_that_move_keep_their_places_at_a_full_gateway() -> None:
    """Who comes while they wait for their turns is refused, as he was before."""

    async def moving() -> list[Any]:
        mesh = Mesh(most=8)
        mesh.tell(state("w0", READY))
        asked = mesh.ask(8)
        await asyncio.sleep(1)
        mesh.token_s = 0.3
        mesh.lose("w0", state("w1", READY))
        asked += mesh.ask(8, 8)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        answers += await asyncio.gather(*mesh.ask(8, 16))
        await mesh.answers([])
        return [getattr(each, "reason", each) for each in answers]

    answers = run(moving())
    assert good(answers[:8])
    assert answers[8:16] == [Reason.SERVER_OVERLOADED] * 8
    assert good(answers[16:])
