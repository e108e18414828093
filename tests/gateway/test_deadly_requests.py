"""Requests that end their workers: each ends few of them, and its neighbours go on."""

import asyncio
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.link import CallSink
from inferloom_gateway.calls.poison import BARRED_S
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason
from tests.gateway.answering import AnsweringCall
from tests.gateway.dying_workers import TOKENS, Generating
from tests.gateway.virtual_time import run
from tests.gateway.waiting_mesh import READY, Mesh, Refusing, good, state


class EndedAtFirst(Generating):
    """One that dies before its first token."""

    def dies_at(self, had: int) -> int:
        """At once."""
        return 0


class EndedAtOne(Generating):
    """One that dies at the same token as others."""

    def dies_at(self, had: int) -> int:
        """Wherever it begins."""
        return 40


class EndedByMany(Generating):
    """One that dies of how much there is to do."""

    def dies_at(self, had: int) -> int:
        """After as many as others."""
        return had + 50


@pytest.mark.parametrize(("kind", "deaths"), [(EndedAtFirst, 2), (EndedAtOne, 2), (EndedByMany, 4)])
def test_a_generation_that_ends_its_workers_ends_few(kind: type[Generating], deaths: int) -> None:
    """Two if it does so at one token, four if it comes on between; and none when it is asked again."""

    async def dying() -> tuple[list[Any], int]:
        mesh, names = Mesh(), [f"w{number}" for number in range(9)]
        mesh.kinds = dict.fromkeys(names, kind)
        mesh.token_s = 0.02
        mesh.tell(*(state(name, READY) for name in names))
        links = [mesh.link(name) for name in names]
        asked = mesh.ask(1)
        await asyncio.wait(asked)
        return await mesh.answers([*asked, *mesh.ask(1)]), sum(link.dead for link in links)

    assert run(dying()) == ([Reason.REQUEST_BARRED] * 2, deaths)


def test_the_neighbours_of_one_that_ends_four_workers_may_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may not for as long as one with four losses."""
    monkeypatch.setattr(EndedByMany, "deadly", "0 is asked")

    async def dying() -> tuple[list[Any], int, float | None]:
        mesh, names = Mesh(), [f"w{number}" for number in range(9)]
        mesh.kinds = dict.fromkeys(names, EndedByMany)
        mesh.token_s = 0.02
        mesh.tell(*(state(name, READY) for name in names))
        links = [mesh.link(name) for name in names]
        asked = mesh.ask(17)
        await asyncio.wait(asked)
        again = mesh.ask(17)
        await asyncio.wait(again)
        told = again[0].exception()
        assert isinstance(told, InferloomError)
        return await mesh.answers([*asked, *again]), sum(link.dead for link in links), told.retry_after

    answers, deaths, wait_s = run(dying())
    assert answers == [Reason.REQUEST_BARRED, *[TOKENS] * 16] * 2
    assert deaths == 4
    assert wait_s == pytest.approx(4 * BARRED_S, abs=30)


@pytest.mark.parametrize("seed", range(3))
def test_the_neighbours_of_one_that_ends_workers_midway_go_on(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever they go with it; and it ends four workers at most."""
    first = 100 * seed
    monkeypatch.setattr(EndedAtOne, "deadly", f"{first} is asked")

    async def dying() -> tuple[list[Any], int]:
        mesh, names = Mesh(), [f"w{number}" for number in range(6)]
        mesh.kinds = dict.fromkeys(names, EndedAtOne)
        mesh.token_s = 0.02
        mesh.tell(state("w0", READY))
        asked = mesh.ask(17, first)
        await asyncio.sleep(0.5)
        mesh.tell(*(state(name, READY) for name in names))
        links = [mesh.link(name) for name in names]
        return await mesh.answers(asked), sum(link.dead for link in links)

    (killer, *neighbours), deaths = run(dying())
    assert killer is Reason.REQUEST_BARRED
    assert neighbours == [TOKENS] * 16
    assert 2 <= deaths <= 4


class EndedByReading(Refusing):
    """One that dies of a request before it has accepted it, and does well with others."""

    deadly = "0 is asked"
    within_s = 0.0

    def generate(
        self, request: pb.GenerateRequest, context: CallContext, sink: CallSink[pb.GenerateResponse]
    ) -> AnsweringCall:
        """Take the request."""
        loop = asyncio.get_running_loop()
        if self.dead or request.text != self.deadly:
            return super().generate(request, context, sink)
        self.asked += 1
        self.open[sink] = []
        if self.within_s:
            loop.call_later(self.within_s, self.die)
        else:
            loop.call_soon(self.die)
        return AnsweringCall(self, sink)

    def die(self) -> None:
        """Be lost for good."""
        self.dead = True
        self.lose()


@pytest.mark.parametrize("within_s", [0.0, 0.4, 3.0])
@pytest.mark.parametrize("neighbours", [0, 16])
def test_a_request_that_ends_its_workers_while_they_read_it_ends_two(
    within_s: float, neighbours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that does so when it is computed; it is known when it is asked again, and its neighbours are
    answered."""
    monkeypatch.setattr(EndedByReading, "within_s", within_s)

    async def dying() -> tuple[list[Any], int]:
        mesh, names = Mesh(), [f"w{number}" for number in range(9)]
        mesh.kinds = dict.fromkeys(names, EndedByReading)
        mesh.tell(*(state(name, READY) for name in names))
        links = [mesh.link(name) for name in names]
        asked = mesh.ask(1 + neighbours)
        await asyncio.wait(asked)
        return await mesh.answers([*asked, *mesh.ask(1)]), sum(link.dead for link in links)

    (killer, *others, again), deaths = run(dying())
    assert (killer, again) == (Reason.REQUEST_BARRED, Reason.REQUEST_BARRED)
    assert good(others)
    assert deaths == 2


def test_a_request_that_ends_the_only_worker_while_it_is_read_does_so_twice() -> None:
    """However often that starts again; who was on it too goes on."""

    async def restarting() -> tuple[list[Any], int]:
        mesh = Mesh()
        mesh.kinds["w0"] = EndedByReading
        mesh.tell(state("w0", READY))
        asked, epoch = mesh.ask(4), 1
        for _ in range(60):
            await asyncio.sleep(0.5)
            if mesh.links["w0"].dead:
                epoch += 1
                mesh.tell()
                await asyncio.sleep(0.5)
                mesh.tell(state("w0", READY, epoch=epoch))
                mesh.link("w0")
        return await mesh.answers(asked), epoch - 1

    (killer, *others), deaths = run(restarting())
    assert killer is Reason.REQUEST_BARRED
    assert good(others)
    assert deaths == 2
