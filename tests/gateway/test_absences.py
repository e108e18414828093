"""Calls that have not begun and whose workers are all lost, stopping or starting, or say that they cannot."""

import asyncio
from typing import Any

import pytest

from inferloom.v1 import registry_pb2 as rpb
from inferloom_gateway.calls.absences import FORGOTTEN_S, REFUSED_S
from inferloom_mesh.errors import InferloomError, Reason
from tests.gateway.samples import CHAT, EMBED, entry
from tests.gateway.virtual_time import run
from tests.gateway.waiting_mesh import (
    CONSTRAINT,
    DRAINING,
    READY,
    STARTING,
    Mesh,
    Plain,
    constraining,
    good,
    state,
)

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


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("begins", ["before", "meanwhile"])
def test_what_only_one_worker_does_is_waited_for_until_it_is_back(listed: bool, begins: str) -> None:
    """Whether or not the registry has noticed by then, and nobody asks the others, who are there."""

    async def restarting() -> tuple[list[Any], int]:
        mesh = Mesh()
        mesh.kinds["w1"] = Plain
        other = state("w1", READY)
        mesh.tell(constraining("w0"), other)
        plain = mesh.link("w1")
        mesh.link("w0").dead = True
        asked = mesh.ask(3, constraint=CONSTRAINT) if begins == "before" else mesh.ask(8, 10)
        await asyncio.sleep(0.5)
        before = plain.asked
        if not listed:
            mesh.tell(other)
        asked += mesh.ask(3, 3, constraint=CONSTRAINT) if begins == "meanwhile" else []
        await asyncio.sleep(1)
        assert mesh.dispatcher.turns.waiting == 3
        assert plain.asked == before
        mesh.tell(constraining("w0", epoch=2), other)
        return await mesh.answers(asked), len(asked)

    answers, count = run(restarting())
    assert good(answers)
    assert len(answers) == count


@pytest.mark.parametrize("listed", [True, False])
def test_what_only_a_worker_did_that_stays_away_is_refused_as_a_model_is(listed: bool) -> None:
    """After ten seconds, and at once from then on; the model's other calls go on."""

    async def away() -> tuple[list[Any], list[Any], list[Any], list[float]]:
        mesh = Mesh()
        mesh.kinds["w1"] = Plain
        other = state("w1", READY)
        mesh.tell(constraining("w0"), other)
        mesh.link("w0").dead = True
        if not listed:
            mesh.tell(other)
        waits = mesh.ask(2, constraint=CONSTRAINT)
        others = mesh.ask(4, 2)
        await asyncio.wait(waits)
        times = [mesh.clock()]
        late = mesh.ask(1, 6, constraint=CONSTRAINT)
        await asyncio.wait(late)
        times.append(mesh.clock())
        told = [each.exception() for each in (*waits, *late)]
        answered = await asyncio.gather(*others)
        await mesh.answers([])
        return told[:2], told[2:], answered, times

    first, late, others, (began, ended) = run(away())
    assert [getattr(each, "reason", each) for each in (*first, *late)] == [Reason.NO_WORKER] * 3
    assert began == pytest.approx(10, abs=0.5)
    assert ended - began < 0.1
    assert good(others)
