"""Who may join a queue, by how long it would be: estimates against a simulated engine, and the bounds."""

import heapq
import random

import pytest

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engine.queue_bound import QueueBound, Waiting, ahead_of

SLOTS = 8


class Simulated:
    """An engine with slots, whose services take what a function says, in simulated time."""

    def __init__(self, most_s: float, service: "list[float] | float", most: int = 10_000) -> None:
        self.bound = QueueBound(most, most_s)
        self.bound.passed(0, 0, 0.0)
        self.now = 0.0
        self.running: list[tuple[float, float]] = []
        """When each ends, and when it came."""
        self.waiting: list[tuple[float, float]] = []
        self.waits: list[float] = []
        self.reason: Reason | None = None
        self.refused: list[float] = []
        """What those that were refused were told to wait."""
        self._services = service

    def until(self, moment: float) -> None:
        """Let time pass."""
        while self.running and self.running[0][0] <= moment:
            end, _ = self.running[0]
            self.bound.passed(len(self.running), 1, end)
            heapq.heappop(self.running)
            self.now = end
            self._admit()
        self.bound.passed(len(self.running), 0, moment)
        self.now = moment

    def arrive(self, left_s: float | None = None) -> bool:
        """One more request; whether it is taken."""
        waiting = len(self.waiting)
        try:
            self.bound.check(1, waiting, waiting, len(self.running), SLOTS, left_s)
        except InferloomError as error:
            self.refused.append(error.retry_after or 0.0)
            self.reason = error.reason
            return False
        self.waiting.append((self.now, self._service()))
        self._admit()
        return True

    def _service(self) -> float:
        return self._services.pop() if isinstance(self._services, list) else self._services

    def _admit(self) -> None:
        while self.waiting and len(self.running) < SLOTS:
            came, service = self.waiting.pop(0)
            self.waits.append(self.now - came)
            heapq.heappush(self.running, (self.now + service, came))


@pytest.mark.parametrize("spread", [False, True], ids=["equal", "exponential"])
def test_at_three_times_capacity_waits_stay_within_the_bound(spread: bool) -> None:
    """Five simulated minutes: the places stay taken, and nobody waits for much longer than the bound says."""
    chance = random.Random(1)
    services = [chance.expovariate(1.0) for _ in range(20_000)] if spread else 1.0
    engine = Simulated(most_s=2.0, service=services)
    arrival = 0.0
    while arrival < 300:
        arrival += chance.expovariate(3 * SLOTS)
        engine.until(arrival)
        engine.arrive()
    waits = sorted(engine.waits[SLOTS * 8 :])  # the first are taken before anything is known
    assert len(engine.waits) > 0.9 * 300 * SLOTS
    assert waits[int(len(waits) * 0.99)] < (3.6 if spread else 2.2)
    assert engine.reason is Reason.SERVER_OVERLOADED
    assert all(advice > 0 for advice in engine.refused)


def test_what_is_not_known_refuses_nobody() -> None:
    """Before a first answer has ended only numbers bound a queue."""
    engine = Simulated(most_s=0.5, service=10.0, most=20)
    assert sum(engine.arrive() for _ in range(100)) == SLOTS + 20


def test_a_request_that_would_be_too_late_is_refused_and_others_are_not() -> None:
    """By its own deadline."""
    engine = Simulated(most_s=60, service=1.0)
    for _ in range(3 * SLOTS):
        engine.arrive()
    engine.until(1.5)
    assert not engine.arrive(left_s=0.5)
    assert engine.reason is Reason.WAIT_TOO_LONG
    assert engine.arrive(left_s=30)


def test_free_places_need_no_estimate() -> None:
    """However slow the last answers were, and a burst fills them all at once."""
    engine = Simulated(most_s=0.1, service=100.0)
    engine.arrive()
    engine.until(150)
    assert all(engine.arrive() for _ in range(SLOTS))
    assert not engine.arrive()


def test_idle_time_is_no_service() -> None:
    """An hour without requests says nothing about how long they take."""
    engine = Simulated(most_s=60, service=1.0)
    engine.arrive()
    engine.until(3600)
    assert engine.bound.service_s == pytest.approx(1.0)


def test_answers_that_grow_longer_are_noticed_while_they_run() -> None:
    """And not only when the first of them has ended."""
    bound = QueueBound(100, 5)
    bound.passed(0, 0, 0.0)
    bound.passed(1, 1, 1.0)
    bound.passed(SLOTS, 0, 61.0)
    assert bound.service_s is not None
    assert bound.service_s > 60


def test_told_to_wait_is_how_long_it_takes_until_there_is_room() -> None:
    """Who comes back then is taken."""
    engine = Simulated(most_s=1.0, service=1.0)
    for moment in range(200):
        engine.until(moment / 50)
        engine.arrive()
    told = engine.refused[-1]
    engine.until(engine.now + told + 0.2)
    assert engine.arrive()


def test_tenants_take_turns_and_lower_priorities_wait() -> None:
    """Of a queue that one tenant has filled, another has as much ahead of him as he brings himself."""
    greedy = [Waiting("greedy", 0)] * 100
    assert ahead_of("modest", 0, greedy) == 1
    assert ahead_of("greedy", 0, greedy) == 100
    assert ahead_of("modest", 0, [Waiting("greedy", -1)] * 100) == 0
    assert ahead_of("modest", 0, [*greedy, Waiting("modest", 0)], 2) == 4


def test_a_greedy_tenant_does_not_fill_the_queue_for_others() -> None:
    """He is refused at the bound, another may still come, and all together are bounded too."""
    bound = QueueBound(10, 60)
    greedy = [Waiting("greedy", 0)] * 10
    with pytest.raises(InferloomError, match="10 requests are waiting already"):
        bound.check(1, ahead_of("greedy", 0, greedy), 10, SLOTS, SLOTS, None)
    bound.check(1, ahead_of("modest", 0, greedy), 10, SLOTS, SLOTS, None)
    with pytest.raises(InferloomError, match="20 requests are waiting already"):
        bound.check(1, 1, 20, SLOTS, SLOTS, None)
