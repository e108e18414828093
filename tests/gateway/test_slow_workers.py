"""Workers that are much slower than their peers."""

from inferloom.v1 import registry_pb2 as rpb
from inferloom_gateway.fleet.member import SLOW_START_S
from inferloom_gateway.fleet.worker_health import EJECTION_S, SLOW
from tests.gateway.routing import Routed, crowd

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
    assert all(member.weight(streams.routed.now) == 1 for member in streams.routed.members.values())


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
        assert streams.routed.members["w1"].health.reason == SLOW
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
        assert member.weight(routed.now) == 1


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
