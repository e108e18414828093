"""Workers that are much slower than their peers."""

import asyncio
from contextlib import ExitStack

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2 as rpb
from inferloom_gateway.calls.call_group import CallGroup, GenerateStream
from inferloom_gateway.calls.link import CallSink
from inferloom_gateway.fleet.member import SLOW_START_S
from inferloom_gateway.fleet.tally import EJECTION_S, SLOW
from inferloom_mesh.context import CallContext
from tests.gateway.answering import AnsweringCall, delta
from tests.gateway.routing import Routed, crowd
from tests.gateway.virtual_time import run
from tests.gateway.waiting_mesh import READY, Mesh, Refusing, state

STEP = 0.02


class Streams:
    """Closed-loop streams over a router: as soon as one ends, the next begins."""

    def __init__(self, workers: int, streams: int, tokens: int = 40) -> None:
        self.routed = Routed(*crowd(workers, capacity=64))
        self.gaps = dict.fromkeys(self.routed.members, 0.02)
        self.tokens = tokens
        self.running: list[list[float | str]] = []
        self.begun: list[tuple[float, str]] = []
        self.ejected: list[tuple[float, str]] = []
        self._key = 0
        for _ in range(streams):
            self._begin()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.routed.now + seconds
        while self.routed.now < until:
            now = self.routed.now = self.routed.now + STEP
            for stream in list(self.running):
                self._step(stream, now)

    def share(self, name: str, since: float) -> float:
        """The part of the streams begun since then that a worker got."""
        late = [worker for began, worker in self.begun if began >= since]
        return late.count(name) / len(late)

    def _begin(self) -> None:
        routed = self.routed
        self._key = (self._key * 6364136223846793005 + 1442695040888963407) % 2**64
        member = routed.worker(self._key)
        member.in_flight += 1
        self.ejected += [(routed.now, out.id) for out in routed.fleet.compare(routed.now)]
        self.begun.append((routed.now, member.id))
        self.running.append([member.id, routed.now, 0.0])

    def _step(self, stream: list[float | str], now: float) -> None:
        name, began, done = str(stream[0]), float(stream[1]), float(stream[2])
        member = self.routed.members[name]
        pace = member.pace("chat")
        due = int((now - began) / self.gaps[name]) - 1
        if due < 0:
            return
        if not done:
            pace.begin(now)
            stream[2] = done = 1
        fresh = min(due, self.tokens) - int(done)
        if fresh > 0:
            pace.tokens += fresh
            stream[2] = done + fresh
        if float(stream[2]) >= self.tokens:
            pace.end(now)
            member.in_flight -= 1
            self.running.remove(stream)
            self._begin()


def test_alike_workers_are_left_alone() -> None:
    """Nobody is slow where all are as fast as each other."""
    streams = Streams(4, 16)
    streams.run(30)
    assert streams.ejected == []
    assert all(member.weight("chat", streams.routed.now) == 1 for member in streams.routed.members.values())


def test_a_worker_ten_times_slower_gets_less_and_is_ejected() -> None:
    """Traffic shifts within 10 s, and the worker is out a little later; it comes back after its time."""
    for workers in (2, 4):
        streams = Streams(workers, 16)
        streams.run(5)
        slowed = streams.routed.now
        streams.gaps["w1"] = 0.2
        streams.run(20)
        assert streams.share("w1", slowed + 10) < 0.1 / workers
        (at, name), *_ = streams.ejected
        assert name == "w1"
        assert at - slowed < 15
        assert streams.routed.members["w1"].health.own.reason == SLOW
        streams.gaps["w1"] = 0.02
        streams.run(EJECTION_S + SLOW_START_S + 10)
        assert len(streams.ejected) == 1
        assert streams.share("w1", streams.routed.now - 10) > 0.5 / workers


def test_slow_prompts_count_as_slow_tokens_do() -> None:
    """Times of reading prompts are compared too, by the token."""
    routed = Routed(*crowd(3))
    for second in range(12):
        routed.now = float(second)
        for name, member in routed.members.items():
            for _ in range(4):
                member.pace("chat").read(4.0 if name == "w0" else 0.2, 1000, routed.now)
        routed.fleet.compare(routed.now)
    assert routed.members["w0"].health.ejected(routed.now)


def test_a_few_measurements_say_nothing() -> None:
    """Two slow prompts are chance, and nobody is compared with silence."""
    routed = Routed(*crowd(2))
    for second in range(12):
        routed.now = float(second)
        member = routed.members["w0"]
        for _ in range(4):
            member.pace("chat").read(20.0, 1000, routed.now)
        if second % 5 == 0:
            routed.members["w1"].pace("chat").read(0.01, 1000, routed.now)
        routed.fleet.compare(routed.now)
        assert member.weight("chat", routed.now) == 1


def test_where_most_do_badly_nobody_is_ejected() -> None:
    """At most a tenth of the workers, or one, and never more than half of a model's."""
    routed = Routed(*crowd(30))
    out = [routed.fleet.eject(member, 1.0) for member in routed.fleet.members()]
    assert sum(out) == 3
    lone = Routed(*crowd(3))
    assert [lone.fleet.eject(member, 1.0) for member in lone.fleet.members()] == [True, False, False]


def test_what_a_worker_says_itself_counts_more_than_the_registry() -> None:
    """For ten seconds; calls of this gateway are not counted twice."""
    member = Routed(*crowd(1)).fleet.members()[0]
    member.in_flight = 2
    member.take_load(rpb.Load(running=5, waiting=1), 0)
    assert member.load == 6
    member.take_load(rpb.Load(running=50), 5, direct=False)
    assert member.load == 6
    member.take_load(rpb.Load(running=3), 11, direct=False)
    assert member.load == 3


class Steady(Refusing):
    """One that gives each call a token all the time, while its gateway wants them."""

    def generate(
        self, request: pb.GenerateRequest, context: CallContext, sink: CallSink[pb.GenerateResponse]
    ) -> AnsweringCall:
        """Take the request."""
        started = pb.GenerateResponse(started=pb.Started(seed=1, prompt_token_ids=[1, 2]))
        self.open[sink] = [asyncio.get_running_loop().call_later(0.01, sink.take, started)]
        return SteadyCall(self, sink)


class SteadyCall(AnsweringCall):
    """One of its calls."""

    def __init__(self, worker: Refusing, sink: CallSink[pb.GenerateResponse]) -> None:
        super().__init__(worker, sink)
        self.wanted = True
        self._later()

    def pause(self) -> None:
        """Give nothing."""
        self.wanted = False

    def resume(self) -> None:
        """Go on."""
        self.wanted = True

    def _later(self) -> None:
        timer = asyncio.get_running_loop().call_later(self.worker.token_s, self._give)
        self.worker.open[self.sink].append(timer)

    def _give(self) -> None:
        self._later()
        if self.wanted:
            self.sink.take(delta())


class Unread:
    """Takes a stream's events."""

    def take(self, event: object) -> None:
        """Nothing of it is of interest."""

    def tokens(self, tokens: object) -> None:
        """Nor of them."""

    def end(self, error: object) -> None:
        """Nor of it."""


@pytest.mark.parametrize("leave", [False, True])
def test_clients_that_read_nothing_or_leave_make_no_worker_slow(leave: bool) -> None:
    """All but one of its streams are held back, or were given up, and those of its peer are read."""

    async def reading() -> tuple[int, list[float]]:
        mesh = Mesh()
        mesh.kinds = {"w0": Steady, "w1": Steady}
        mesh.token_s = STEP
        mesh.tell(state("w0", READY), state("w1", READY))
        clock, weights = mesh.clock, list[float]()
        on: dict[str, list[tuple[CallGroup, GenerateStream]]] = {"w0": [], "w1": []}
        with ExitStack() as stack:
            for number in range(16):
                context = CallContext(f"r{number}", clock() + 60)
                calls = stack.enter_context(mesh.dispatcher.group(context, "generate", "chat"))
                stream = await calls.generate(pb.GenerateRequest(model="chat", text=f"{number} is asked"))
                stream.push_to(Unread())
                on[calls.record.worker].append((calls, stream))
            await asyncio.sleep(0.1)
            for calls, stream in on["w0"][1:]:
                if leave:
                    calls.close()
                else:
                    stream.pause()
            for _ in range(10):
                await asyncio.sleep(1)
                mesh.fleet.compare(clock())
                weights += [member.weight("chat", clock()) for member in mesh.fleet.members()]
        await mesh.answers([])
        return min(map(len, on.values())), weights

    least, weights = run(reading())
    assert least >= 5
    assert weights == [1.0] * 20
