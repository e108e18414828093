"""Of calls that wait for a worker, one is called when it may have it: nobody looks again and again."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.suspects import ALONE_S, DEATH_S, FRESH_S, Suspects
from inferloom_gateway.calls.turns import LOOK_S, SOON_S, Turns
from inferloom_gateway.fleet.member import Member
from inferloom_mesh.errors import InferloomError, Reason
from tests.gateway.virtual_time import run
from tests.gateway.waiting_mesh import READY, STARTING, Mesh, good, state


class Suspect:
    """A call that wants one of some workers, and keeps to the turns on them."""

    def __init__(
        self, name: str, suspects: Suspects, workers: Sequence[Member], *, alone: bool = False
    ) -> None:
        self.name = name
        self.suspects = suspects
        self.workers = list(workers)
        self.suspect = True
        self.alone = alone
        self.slowness = 0.0
        self.kept_from: list[Member] = []
        self.asked = 0
        self.ends_at = float("inf")

    def next(self) -> Member | None:
        """Have the first that may take it."""
        self.asked += 1
        now = asyncio.get_running_loop().time()
        if now >= self.ends_at:
            raise InferloomError(attempt.worker_lost().reason, "Its time is over.")
        self.kept_from = [
            worker
            for worker in self.workers
            if self.suspect and not self.suspects.may_take(worker, now, alone=self.alone)
        ]
        free = [worker for worker in self.workers if worker not in self.kept_from]
        if not free:
            return None
        if self.suspect:
            self.suspects.enter(free[0], self.name, now, alone=self.alone)
        return free[0]

    def candidates(self) -> Sequence[Member]:
        """All of them."""
        return self.workers

    def asks_again_at(self) -> float:
        """When its time is over."""
        return self.ends_at


class Line:
    """Suspects before workers. Made on its loop."""

    def __init__(self) -> None:
        self.clock = asyncio.get_running_loop().time
        self.suspects = Suspects()
        self.turns = Turns(self.suspects, self.clock)
        self.entered: list[tuple[str, float]] = []

    async def go(self, call: Suspect, token_s: float | None = None) -> None:
        """Get a worker, and a token after a while; None: never."""
        if call.next() is None:
            await self.turns.member(call)
        self.entered.append((call.name, self.clock()))
        if token_s is not None:
            await asyncio.sleep(token_s)
            self.suspects.leave(call.name)

    def sizes(self) -> list[int]:
        """How many went to a worker at a time."""
        return list(Counter(round(at, 3) for _, at in self.entered).values())


@pytest.mark.parametrize("token_s", [0.05, None])
def test_of_five_hundred_that_wait_each_is_called_once(token_s: float | None) -> None:
    """In the order in which they came, in turns that grow, whether or not those before get their tokens."""

    async def crowd() -> Line:
        line, worker = Line(), Member("w", "w:1")
        calls = [Suspect(f"r{each:03}", line.suspects, [worker]) for each in range(500)]
        async with asyncio.TaskGroup() as tasks:
            for call in calls:
                tasks.create_task(line.go(call, token_s))
        assert max(call.asked for call in calls) == 2
        return line

    line = run(crowd())
    names = [name for name, _ in line.entered]
    assert names == sorted(names)
    assert line.sizes() == [1, 1, 1, 2, 4, 8, 16, 32, 64, 128, 243]
    assert line.turns.calls == 499
    turn_s = FRESH_S if token_s is None else token_s
    assert line.entered[-1][1] == pytest.approx(10 * turn_s, abs=0.1)
    assert line.turns.waiting == 0


def test_who_waited_longest_for_a_first_token_goes_on_first() -> None:
    """Whoever they are, and in whatever order they came; who is no suspect comes behind them."""

    async def crowd() -> Line:
        line, worker = Line(), Member("w", "w:1")
        line.suspects.enter(worker, "there", line.clock())
        calls = [Suspect(f"r{each}", line.suspects, [worker]) for each in range(6)]
        for call, slowness in zip(calls, (0.1, 2.5, 0.3, 2.5, 1.0, 0.2), strict=True):
            call.slowness = slowness
        async with asyncio.TaskGroup() as tasks:
            for call in calls:
                tasks.create_task(line.go(call))
        return line

    assert [name for name, _ in run(crowd()).entered] == ["r1", "r3", "r4", "r2", "r5", "r0"]


def test_who_leaves_is_passed_over_even_when_it_was_just_called() -> None:
    """A client that goes away takes no turn with it."""

    async def leaving() -> tuple[Line, float]:
        line, worker = Line(), Member("w", "w:1")
        tasks = [asyncio.create_task(line.go(Suspect("first", line.suspects, [worker])))]
        waiting = [Suspect(f"r{each:02}", line.suspects, [worker]) for each in range(40)]
        tasks.extend(asyncio.create_task(line.go(each, 0.01)) for each in waiting)
        await asyncio.sleep(0.01)
        assert line.turns.waiting == 40
        tasks[5].cancel()
        line.suspects.leave("first")  # which calls r00
        tasks[1].cancel()
        freed = line.clock()
        await asyncio.gather(*tasks, return_exceptions=True)
        return line, freed

    line, freed = run(leaving())
    names = [name for name, _ in line.entered]
    assert names == ["first", *(f"r{each:02}" for each in range(40) if each not in (0, 4))]
    assert line.entered[1][1] == pytest.approx(freed)
    assert line.turns.calls == 39
    assert line.turns.waiting == 0


def test_one_that_must_be_alone_holds_up_no_others() -> None:
    """It has its turn when the worker has nobody, and is called once."""

    async def mixed() -> tuple[Line, Suspect]:
        line, worker = Line(), Member("w", "w:1")
        alone = Suspect("alone", line.suspects, [worker], alone=True)
        async with asyncio.TaskGroup() as tasks:
            for name in ("a", "b"):
                tasks.create_task(line.go(Suspect(name, line.suspects, [worker])))
            tasks.create_task(line.go(alone))
        return line, alone

    line, alone = run(mixed())
    assert [name for name, _ in line.entered] == ["a", "b", "alone"]
    assert line.entered[-1][1] == pytest.approx(FRESH_S + ALONE_S, abs=0.01)
    assert alone.asked <= 3


def test_a_worker_that_comes_is_told_to_who_waits() -> None:
    """To suspects in turns, to others at once; and none is called for changes that are none for it."""

    async def coming() -> tuple[Line, list[Suspect]]:
        line, old, new = Line(), Member("w", "w:1"), Member("v", "v:1")
        calls = [Suspect(f"r{each}", line.suspects, [old]) for each in range(9)]
        others = [Suspect(f"s{each}", line.suspects, []) for each in range(3)]
        for each in others:
            each.suspect = False
        line.suspects.enter(old, "there", line.clock(), alone=True)
        tasks = [asyncio.create_task(line.go(each)) for each in (*calls, *others)]
        await asyncio.sleep(0.01)
        for _ in range(100):
            line.turns.workers_changed()
            await asyncio.sleep(2 * SOON_S / 100)
        assert line.turns.calls == 0
        for each in (*calls, *others):
            each.workers.append(new)
        line.turns.workers_changed()
        await asyncio.sleep(SOON_S + 0.001)
        first = sorted(name for name, _ in line.entered)
        assert first == ["r0", "s0", "s1", "s2"]
        await asyncio.gather(*tasks)
        return line, [*calls, *others]

    line, calls = run(coming())
    assert line.turns.calls <= len(calls) + 1
    assert max(call.asked for call in calls) <= 3


def test_one_whose_workers_all_went_and_one_whose_time_is_over_look_again() -> None:
    """What they are told then is for them to ask; and whatever was missed is seen after a while."""

    async def ending() -> None:
        line, worker = Line(), Member("w", "w:1")
        line.suspects.enter(worker, "there", line.clock(), alone=True)
        gone, late, missed = (Suspect(name, line.suspects, [worker]) for name in ("g", "l", "m"))
        late.ends_at = 0.5
        tasks = [asyncio.create_task(line.go(each)) for each in (gone, late)]
        await asyncio.sleep(0.01)
        gone.workers.clear()
        line.turns.workers_changed()
        await asyncio.sleep(0.1)
        assert gone.asked == 2
        with pytest.raises(InferloomError):
            await tasks[1]
        assert line.clock() == pytest.approx(0.5, abs=0.01)
        tasks[0].cancel()
        missed.workers.clear()
        task = asyncio.create_task(line.go(missed))
        await asyncio.sleep(0.01)
        missed.workers.append(Member("u", "u:1"))
        began = line.clock()
        await task
        assert line.clock() - began <= LOOK_S

    run(ending())


def test_suspects_that_are_long_on_a_worker_keep_their_turn() -> None:
    """Also when others had turns elsewhere since."""
    suspects = Suspects()
    suspects.enter("w", "a", 0.0)
    suspects.enter("v", "b", DEATH_S + 1)
    assert suspects.may_take("w", DEATH_S + 1)
    assert suspects.free_at("w", alone=True) == ALONE_S


def test_five_hundred_streams_of_a_lost_worker_go_on_and_those_whose_clients_left_do_not() -> None:
    """The dispatcher's own way: one worker is lost under them, and the other takes them in turns."""

    async def losing() -> tuple[Mesh, int, list[Any]]:
        mesh = Mesh()
        mesh.tell(state("w0", READY))
        tasks = mesh.ask(500)
        await asyncio.sleep(1)
        mesh.lose("w0", state("w0", READY), state("w1", READY))
        await asyncio.sleep(0.2)
        left = sum(task.cancel() for task in tasks[300:400])
        return mesh, left, await mesh.answers(tasks)

    mesh, left, answers = run(losing())
    assert left == 100
    whole = [each for each in answers if not isinstance(each, asyncio.CancelledError)]
    assert len(whole) == 400
    assert good(whole)
    assert mesh.links["w1"].taken == 400
    assert mesh.dispatcher.turns.calls <= 500
    assert not mesh.links["w1"].open


@pytest.mark.parametrize("loading", [True, False])
def test_a_stream_waits_longer_while_a_worker_loads_its_model(loading: bool) -> None:
    """Half a minute, where one that nobody loads is given up after ten seconds."""

    async def restarting() -> list[Any]:
        mesh = Mesh(absent_s=0)
        mesh.tell(state("w0", READY))
        asked = mesh.ask(1)
        await asyncio.sleep(1)
        mesh.lose("w0", state("w1", STARTING, "chat" if loading else "other"))
        await asyncio.sleep(30)
        mesh.tell(state("w1", READY))
        return await mesh.answers(asked)

    answers = run(restarting())
    assert good(answers) if loading else answers == [Reason.WORKER_LOST]
