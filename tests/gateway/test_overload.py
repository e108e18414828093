"""What a gateway does while its workers are full: its own dispatcher and waiting room before workers whose
queues have the real bound, in virtual time."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.dispatch import Dispatcher
from inferloom_gateway.calls.in_flight import InFlight
from inferloom_gateway.calls.link import CallFailedError, CallSink, WorkerLink
from inferloom_gateway.calls.listener import Listeners
from inferloom_gateway.calls.tokens import Tokens
from inferloom_gateway.calls.waiting_room import WaitingRoom
from inferloom_gateway.fleet.connections import Connections
from inferloom_gateway.fleet.member import Member
from inferloom_gateway.fleet.members import Fleet
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engine.queue_bound import QueueBound
from tests.gateway.samples import entry, snapshot
from tests.gateway.virtual_time import run

SLOTS = 8
SERVICE_S = 1.0


class Whole:
    """Takes a generation's events."""

    def add(self, event: Any) -> None:
        """Nothing of it is of interest."""

    def tokens(self, tokens: Tokens) -> None:
        """Nor of them."""


class SimulatedCall:
    """A call that waits for a slot, has it for a while, and answers then."""

    sent, mute = True, False

    def __init__(self, worker: "SimulatedWorker", sink: CallSink[pb.GenerateResponse]) -> None:
        self.worker = worker
        self.sink = sink
        self.timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Have a slot."""
        self.timer = asyncio.get_running_loop().call_later(self.worker.service_s(), self.end)

    def end(self) -> None:
        """Answer."""
        self.sink.take(pb.GenerateResponse(delta=pb.Delta(text="x", token_ids=[1])))
        self.sink.take(pb.GenerateResponse(finished=pb.Finished(reason=pb.FINISH_REASON_STOP)))
        self.sink.take(pb.GenerateResponse(completed=pb.Completed()))
        self.sink.end(None)
        self.worker.left(self)

    def pause(self) -> None:
        """Nothing flows anyway."""

    def resume(self) -> None:
        """Nothing flows anyway."""

    def cancel(self) -> None:
        """Give it up."""
        if self.timer is not None:
            self.timer.cancel()
        self.worker.left(self)


class SimulatedWorker:
    """A link to a worker with slots and a bounded queue."""

    def __init__(self, most_s: float, service_s: Callable[[], float]) -> None:
        self.bound = QueueBound(10_000, most_s)
        self.service_s = service_s
        self.running: list[SimulatedCall] = []
        self.waiting: list[SimulatedCall] = []
        self.asked = 0

    def generate(
        self, request: pb.GenerateRequest, context: CallContext, sink: CallSink[pb.GenerateResponse]
    ) -> SimulatedCall:
        """Take the request or refuse it."""
        call = SimulatedCall(self, sink)
        asyncio.get_running_loop().call_soon(self._come, call)
        self.asked += 1
        return call

    def left(self, call: SimulatedCall) -> None:
        """A call is over."""
        if call in self.running:
            self._passed(1)
            self.running.remove(call)
            while self.waiting and len(self.running) < SLOTS:
                self._run(self.waiting.pop(0))
        elif call in self.waiting:
            self.waiting.remove(call)

    async def close(self, grace_s: float | None) -> None:
        """There is nothing to close."""

    def _come(self, call: SimulatedCall) -> None:
        self._passed(0)
        waiting = len(self.waiting)
        try:
            self.bound.check(1, waiting, waiting, len(self.running), SLOTS, None)
        except InferloomError as error:
            call.sink.end(CallFailedError(attempt.refused(error)))
            return
        call.sink.take(pb.GenerateResponse(started=pb.Started(seed=1)))
        if len(self.running) < SLOTS:
            self._run(call)
        else:
            self.waiting.append(call)

    def _run(self, call: SimulatedCall) -> None:
        self.running.append(call)
        call.begin()

    def _passed(self, freed: int) -> None:
        self.bound.passed(len(self.running), freed, asyncio.get_running_loop().time())


class Simulation:
    """A gateway before simulated workers. Made on its loop."""

    def __init__(
        self,
        *,
        workers: int = 2,
        worker_s: float = 2.0,
        gateway_s: float = 0.5,
        most: int = 256,
        spread: float = 0.2,
    ) -> None:
        clock = asyncio.get_running_loop().time
        fleet = Fleet()
        fleet.apply(snapshot(*(entry(f"w{n}", capacity=SLOTS) for n in range(workers))), clock())
        chance = random.Random(3)
        self.workers: list[SimulatedWorker] = []

        def connect(member: Member) -> WorkerLink:
            made = SimulatedWorker(worker_s, lambda: SERVICE_S * chance.uniform(1 - spread, 1 + spread))
            self.workers.append(made)
            return cast("WorkerLink", made)  # of a link it has what generating needs

        connections: Connections[WorkerLink] = Connections(connect, 0)
        listeners = Listeners()
        self.room = WaitingRoom(fleet, most, gateway_s, clock)
        listeners.add(self.room)
        in_flight = InFlight(fleet, connections, 100_000, clock)
        self.dispatcher = Dispatcher(fleet, connections, in_flight, listeners, clock, room=self.room)
        self.clock = clock
        self.took: dict[str, list[float]] = {}
        """Seconds of each answer, by tenant."""
        self.refused: list[tuple[float, float]] = []
        """Seconds until each refusal, and what it advised."""
        self.failed: Counter[str] = Counter()

    async def ask(self, number: int, tenant: str = "", left_s: float = 60, cap: int | None = None) -> bool:
        """Ask once; whether there was an answer."""
        began = self.clock()
        context = CallContext(f"r{number}", began + left_s, tenant=tenant, priority_cap=cap)
        request = pb.GenerateRequest(model="chat", text=f"{number} is asked")
        try:
            with self.dispatcher.group(context, "generate", "chat") as calls:
                await calls.collect(request, Whole)
        except InferloomError as error:
            if error.reason is Reason.SERVER_OVERLOADED and error.retry_after is not None:
                self.refused.append((self.clock() - began, error.retry_after))
            else:
                self.failed[error.reason] += 1
            return False
        self.took.setdefault(tenant, []).append(self.clock() - began)
        return True

    async def crowd(self, rate: float, seconds: float, tenant: str = "") -> None:
        """Ask at random moments, and wait for all answers."""
        chance = random.Random(7)
        until = self.clock() + seconds
        async with asyncio.TaskGroup() as tasks:
            number = 0
            while self.clock() < until:
                tasks.create_task(self.ask(number, tenant))
                number += 1
                await asyncio.sleep(chance.expovariate(rate))


def quantile(values: list[float], part: float) -> float:
    """A quantile."""
    return sorted(values)[int(len(values) * part)]


def test_three_times_the_capacity() -> None:
    """The bars of DESIGN: goodput, the admitted, the refused."""
    seconds = 60.0

    async def crowded() -> Simulation:
        mesh = Simulation()
        await mesh.crowd(3 * 2 * SLOTS / SERVICE_S, seconds)
        return mesh

    mesh = run(crowded())
    assert not mesh.failed
    answered = mesh.took[""]
    assert len(answered) > 0.9 * seconds * 2 * SLOTS / SERVICE_S
    assert quantile(answered[4 * SLOTS :], 0.99) < 2 * 1.2 * SERVICE_S + 2.5
    assert quantile([took for took, _ in mesh.refused], 0.99) <= 0.05
    assert all(advice > 0 for _, advice in mesh.refused)
    assert mesh.room.waiting == 0
    # Workers that are full are asked about as often as they have room.
    asked = sum(worker.asked for worker in mesh.workers)
    assert asked < 3 * len(answered)


def test_calls_that_end_in_clumps_make_few_refusals_late() -> None:
    """Slots that were taken together are free together, so that an estimate by the mean is off by up to a
    whole answer."""

    async def crowded() -> Simulation:
        mesh = Simulation(worker_s=2.0, gateway_s=1.0, spread=0.0)
        await mesh.crowd(3 * 2 * SLOTS / SERVICE_S, 60)
        return mesh

    mesh = run(crowded())
    late = sum(took > 0.05 for took, _ in mesh.refused)
    assert late < 0.02 * len(mesh.refused)
    assert len(mesh.took[""]) > 0.9 * 60 * 2 * SLOTS / SERVICE_S


def test_a_moment_without_room_is_waited_out() -> None:
    """A burst that is a little over what the workers take is answered, not refused."""

    async def burst() -> Simulation:
        mesh = Simulation(workers=1, worker_s=0.0, gateway_s=3.0)
        await asyncio.gather(*(mesh.ask(number) for number in range(SLOTS)))  # so that times are known
        await asyncio.gather(*(mesh.ask(number) for number in range(2 * SLOTS)))
        return mesh

    mesh = run(burst())
    assert (mesh.refused, mesh.failed) == ([], {})


def test_where_nobody_is_to_wait_a_workers_own_word_is_told() -> None:
    """With a queue of no places, as before there was one."""

    async def full() -> Simulation:
        mesh = Simulation(workers=1, worker_s=0.0, most=0)
        await asyncio.gather(*(mesh.ask(number) for number in range(SLOTS)))
        await asyncio.gather(*(mesh.ask(number) for number in range(2 * SLOTS)))
        return mesh

    mesh = run(full())
    assert len(mesh.refused) == SLOTS
    assert all(took == 0 for took, _ in mesh.refused)


def test_a_deadline_ends_waiting() -> None:
    """It is over for who has no time, and for nobody else."""

    async def late() -> tuple[bool, bool, float]:
        mesh = Simulation(workers=1, worker_s=0.0, gateway_s=30.0)
        await asyncio.gather(*(mesh.ask(number) for number in range(SLOTS)))
        running = [asyncio.create_task(mesh.ask(number)) for number in range(2 * SLOTS)]
        await asyncio.sleep(0.01)
        began = mesh.clock()
        short = await mesh.ask(100, left_s=0.2)
        took = mesh.clock() - began
        long = await mesh.ask(101, left_s=30)
        await asyncio.gather(*running)
        return short, long, took

    short, long, took = run(late())
    assert (short, long) == (False, True)
    assert took <= 0.2


def test_tenants_take_turns_in_the_line() -> None:
    """Who asks a little is not kept out by who asks all the time."""

    async def shared() -> Simulation:
        mesh = Simulation(workers=1, worker_s=0.5, gateway_s=2.0)
        greedy = asyncio.create_task(mesh.crowd(5 * SLOTS / SERVICE_S, 30, "greedy"))
        await asyncio.sleep(5)
        for number in range(20):
            assert await mesh.ask(10_000 + number, "modest")
        await greedy
        return mesh

    mesh = run(shared())
    assert max(mesh.took["modest"]) < 1.2 * SERVICE_S + 0.5 + 1.0


def test_lines_of_batches_are_refused_at_once_and_mark_nobody_as_full() -> None:
    """They ask again by themselves."""

    async def behind() -> Simulation:
        mesh = Simulation(workers=1, worker_s=0.0)
        await asyncio.gather(*(mesh.ask(number) for number in range(SLOTS)))
        running = [asyncio.create_task(mesh.ask(number)) for number in range(SLOTS)]
        await asyncio.sleep(0.01)
        assert not await mesh.ask(100, cap=-100)
        assert mesh.refused[-1][0] == 0
        await asyncio.gather(*running)
        return mesh

    assert not run(behind()).failed


@pytest.mark.parametrize("slots", [0, 3])
def test_who_leaves_the_line_leaves_nothing_behind(slots: int) -> None:
    """A client that goes away while it waits has no place any more."""

    async def leave() -> Simulation:
        mesh = Simulation(workers=1, worker_s=0.0, gateway_s=30.0)
        await asyncio.gather(*(mesh.ask(number) for number in range(SLOTS)))
        running = [asyncio.create_task(mesh.ask(number)) for number in range(2 * SLOTS)]
        await asyncio.sleep(0.01)
        assert mesh.room.waiting == SLOTS
        for task in running[SLOTS + slots :]:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        return mesh

    mesh = run(leave())
    assert mesh.room.waiting == 0
    assert len(mesh.took[""]) == 2 * SLOTS + slots
