"""Calls whose workers end, one after another: those that did nothing wrong go on, and there is no storm."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.link import CallFailedError, CallSink
from inferloom_gateway.calls.poison import BARRED_S
from inferloom_gateway.calls.records import Attempt, Record, Records
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason
from tests.gateway.samples import CHAT, entry
from tests.gateway.test_turns import AnsweringCall
from tests.gateway.virtual_time import run
from tests.gateway.waiting_mesh import DRAINING, READY, Mesh, Refusing, good, state

DRAINS = InferloomError(Reason.NO_WORKER, "The worker is draining.", retry_after=1.0)
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


TOKENS = 300


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


class Generating(Refusing):
    """One that gives a token all the time, behind those that there are."""

    deadly = ""
    """The request that ends it; empty: any."""

    def dies_at(self, had: int) -> int | None:
        """The token at which a request ends it that has so many. None: it does not."""
        return None

    def generate(
        self, request: pb.GenerateRequest, context: CallContext, sink: CallSink[pb.GenerateResponse]
    ) -> AnsweringCall:
        """Take the request."""
        self.asked += 1
        loop, now = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        had = len(request.resume.choices[0].token_ids) if request.resume.choices else 0
        started = pb.GenerateResponse(started=pb.Started(seed=1, prompt_token_ids=[1, 2]))
        timers = [loop.call_later(0.001, sink.take, started)]
        for number in range(had, TOKENS):
            due = now + self.token_s * (number - had + 1)
            token = pb.GenerateResponse(delta=pb.Delta(text="x", token_ids=[number]))
            if number == self.dies_at(had) and self.deadly in ("", request.text):
                timers.append(loop.call_at(due - self.token_s / 2, self.die))
            timers.append(loop.call_at(due, sink.take, token))
        timers.append(loop.call_at(now + self.token_s * (TOKENS - had + 1), self._end, sink))
        self.open[sink] = timers
        return AnsweringCall(self, sink)

    def die(self) -> None:
        """Be lost for good."""
        self.dead = True
        self.lose()


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

    assert run(dying()) == ([Reason.WORKER_LOST] * 2, deaths)


class EndedByManyOfOne(Generating):
    """One that dies of how much one request has to do."""

    def dies_at(self, had: int) -> int | None:
        """After as many as others."""
        return had + 50


def test_the_neighbours_of_one_that_ends_four_workers_may_ask_again() -> None:
    """It may not for as long as one with four losses."""

    async def dying() -> tuple[list[Any], int, float | None]:
        mesh, names = Mesh(), [f"w{number}" for number in range(9)]
        mesh.kinds = dict.fromkeys(names, EndedByManyOfOne)
        mesh.token_s = 0.02
        mesh.tell(*(state(name, READY) for name in names))
        links = [mesh.link(name) for name in names]
        EndedByManyOfOne.deadly = "0 is asked"
        asked = mesh.ask(17)
        await asyncio.wait(asked)
        again = mesh.ask(17)
        await asyncio.wait(again)
        told = again[0].exception()
        assert isinstance(told, InferloomError)
        return await mesh.answers([*asked, *again]), sum(link.dead for link in links), told.retry_after

    answers, deaths, wait_s = run(dying())
    assert answers == [Reason.WORKER_LOST, *[TOKENS] * 16] * 2
    assert deaths == 4
    assert wait_s == pytest.approx(4 * BARRED_S, abs=30)


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
    assert told.reason is Reason.WORKER_LOST
    assert told.retry_after == pytest.approx(4 * BARRED_S, abs=30)


class EndedByOne(Generating):
    """One that one request ends, at the same token as others."""

    def dies_at(self, had: int) -> int | None:
        """Wherever it begins."""
        return 40


@pytest.mark.parametrize("seed", range(3))
def test_the_neighbours_of_one_that_ends_workers_midway_go_on(seed: int) -> None:
    """Wherever they go with it; and it ends four workers at most."""

    async def dying() -> tuple[list[Any], int]:
        mesh, names = Mesh(), [f"w{number}" for number in range(6)]
        mesh.kinds = dict.fromkeys(names, EndedByOne)
        mesh.token_s = 0.02
        mesh.tell(state("w0", READY))
        first = 100 * seed
        EndedByOne.deadly = f"{first} is asked"
        asked = mesh.ask(17, first)
        await asyncio.sleep(0.5)
        mesh.tell(*(state(name, READY) for name in names))
        links = [mesh.link(name) for name in names]
        return await mesh.answers(asked), sum(link.dead for link in links)

    (killer, *neighbours), deaths = run(dying())
    assert killer is Reason.WORKER_LOST
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
    assert (killer, again) == (Reason.WORKER_LOST, Reason.WORKER_LOST)
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
    assert killer is Reason.WORKER_LOST
    assert good(others)
    assert deaths == 2


def test_a_request_that_never_left_the_gateway_is_no_suspect() -> None:
    """However many workers it finds gone."""

    async def gone() -> list[Any]:
        mesh, names = Mesh(), [f"w{number}" for number in range(6)]
        mesh.tell(*(state(name, READY) for name in names))
        for name in names[:-1]:
            mesh.link(name).dead = True
        return await mesh.answers(mesh.ask(8))

    assert good(run(gone()))


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


@dataclass
class Worker:
    """One of the workers of the play below."""

    name: str
    epoch: int = 1
    said: Any = READY
    """What the registry says of it; None: nothing."""


@dataclass
class Play:
    """A mesh whose workers are killed and drained, and come back. Made on its loop."""

    chance: random.Random
    mesh: Mesh = field(default_factory=Mesh)
    workers: list[Worker] = field(default_factory=list)

    def tell(self) -> None:
        """The registry says what it knows."""
        known = [each for each in self.workers if each.said is not None]
        self.mesh.tell(*(state(each.name, each.said, epoch=each.epoch) for each in known))

    async def live(self, worker: Worker, until: float) -> None:
        """One worker's life: it runs, ends in some way, and comes back, again and again."""
        pause = self.chance.uniform
        while True:
            await asyncio.sleep(pause(0.5, 4))
            if self.mesh.clock() > until:
                return
            link = self.mesh.link(worker.name)
            if self.chance.random() < 0.5:
                link.always = DRAINS
                await asyncio.sleep(pause(0, 1))
                worker.said = DRAINING
                self.tell()
                await asyncio.sleep(pause(0, 2))
                for sink in list(link.open):
                    link.left(sink)
                    sink.end(CallFailedError(attempt.refused(DRAINS)))
            else:
                link.lose()
            link.dead, link.always = True, None
            await asyncio.sleep(pause(0, 1))
            worker.said = None
            self.tell()
            await asyncio.sleep(pause(0.2, 3))
            self.mesh.links[worker.name].dead = False
            worker.epoch, worker.said = worker.epoch + 1, READY
            self.tell()


def lost_with(record: Record) -> list[Attempt]:
    """The attempts of a request whose workers were lost."""
    return [each for each in record.attempts if each.why == "disconnected"]


@pytest.mark.parametrize("seed", range(12))
def test_whoever_dies_and_in_whichever_order_calls_go_on(seed: int) -> None:
    """But for those that two workers were lost with, which had accepted them. A worker that ends is asked by
    none a second time, and one that says not now only when its time is over."""

    async def playing() -> tuple[list[Any], list[Record]]:
        play = Play(random.Random(seed))
        mesh, chance = play.mesh, play.chance
        mesh.token_s = chance.choice([0.05, 0.5, 2.0])
        play.workers = [Worker(f"w{number}") for number in range(chance.randint(1, 4))]
        play.tell()
        records = Records(10 * CALLS)
        mesh.dispatcher.listeners.add(records)
        lives = [asyncio.create_task(play.live(each, until=15)) for each in play.workers]
        asked: list[asyncio.Task[int]] = []
        for number in range(CALLS):
            asked += mesh.ask(1, number)
            await asyncio.sleep(chance.uniform(0, 0.4))
        await asyncio.gather(*lives)
        return await mesh.answers(asked), list(records)

    answers, records = run(playing())
    assert len(records) == CALLS
    failed = [each for each in records if each.error is not None]
    for each in failed:
        assert sum(lost.accepted_s is not None for lost in lost_with(each)) >= 2
    assert sum(isinstance(each, int) for each in answers) == CALLS - len(failed)
    for each in records:
        lives = Counter((lost.worker, lost.epoch) for lost in lost_with(each))
        assert not lives or max(lives.values()) == 1
        refused = [attempt for attempt in each.attempts if attempt.why == "no_worker"]
        for earlier, later in combinations(refused, 2):
            same = (later.worker, later.epoch) == (earlier.worker, earlier.epoch)
            assert not same or later.began_s >= earlier.began_s + 0.99


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
