"""Which of the workers that a registry tells of is called."""

from collections import Counter

import grpc
import pytest

from inferloom.client.directory import Directory
from inferloom.client.errors import InferloomError
from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.registry_pb2 import (
    LEASE_STATE_ACTIVE,
    LEASE_STATE_SUSPECT,
    WORKER_STATE_DRAINING,
    WORKER_STATE_READY,
    ListWorkersResponse,
    Load,
    RegisteredWorker,
    Worker,
)


def row(name: str, model: str = "m", running: int = 0, capacity: int = 4) -> RegisteredWorker:
    """A worker that takes requests."""
    worker = Worker(address=name, state=WORKER_STATE_READY, capacity=capacity, models=[pb.Model(id=model)])
    return RegisteredWorker(lease_state=LEASE_STATE_ACTIVE, load=Load(running=running), worker=worker)


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def directory(*rows: RegisteredWorker, clock: Clock | None = None, settling: bool = False) -> Directory:
    """One that has heard of these."""
    made = Directory(clock or Clock(), lambda: 0.5)
    made.hear(ListWorkersResponse(workers=rows, settling=settling))
    return made


def test_who_has_the_least_to_do_is_called_and_others_not_at_all() -> None:
    """Who drains, is suspect or has another model is left out."""
    draining, suspect = row("draining"), row("suspect")
    draining.worker.state, suspect.lease_state = WORKER_STATE_DRAINING, LEASE_STATE_SUSPECT
    one = directory(row("busy", running=3), row("idle", running=1), row("other", "x"), draining, suspect)
    assert one.choose("m") == "idle"
    assert one.choose("m", {"idle"}) == "busy"
    assert one.choose("m", {"idle", "busy"}) == "idle"
    assert (one.has_other("m", {"idle"}), one.has_other("m", {"idle", "busy"})) == (True, False)
    assert [model.id for model in one.models()] == ["m", "x"]


def test_calls_that_begin_together_are_spread_over_workers() -> None:
    """By what they can take, though a registry knows nothing of them yet; and those that are over count no
    more."""
    one = directory(row("a"), row("b"), row("large", capacity=8))
    for _ in range(20):
        one.begin(one.choose("m"))
    assert Counter(one._calls) == {"a": 5, "b": 5, "large": 10}
    for _ in range(5):
        one.end("b")
    assert one.choose("m") == "b"


def test_what_the_registry_counts_of_own_calls_counts_once() -> None:
    """A worker with as many of others' is as busy."""
    one = directory(row("a", running=4), row("b", running=3))
    for _ in range(4):
        one.begin("a")
    one.begin("b")
    assert one.choose("m") == "b"
    one.hear(ListWorkersResponse(workers=[row("a", running=4), row("b", running=5)]))
    assert one.choose("m") == "a"


def test_a_worker_that_was_lost_comes_last_for_a_while() -> None:
    """For every request, since a registry lists it until its lease ends."""
    clock = Clock()
    one = directory(row("dead"), row("busy", running=9), clock=clock)
    one.lost("dead")
    assert one.choose("m") == "busy"
    assert one.choose("m", {"busy"}) == "dead"
    clock.now += 6
    assert one.choose("m") == "dead"


def test_a_list_is_asked_for_once_a_second_and_holds_while_there_is_no_other() -> None:
    """A registry that is away makes no request wait."""
    clock = Clock()
    one = Directory(clock)
    assert (one.known, one.fresh, one.due(), one.due()) == (False, False, True, False)
    one.hear(ListWorkersResponse(workers=[row("a")]))
    assert (one.known, one.fresh, one.old, one.due()) == (True, True, False, False)
    clock.now += 2
    assert (one.fresh, one.due(), one.due()) == (False, True, False)
    clock.now += 60
    assert one.old
    one.unheard()
    assert (one.known, one.old, one.choose("m")) == (True, False, "a")


def test_a_model_that_nobody_has_is_not_found_or_may_come_yet() -> None:
    """As long as the registry has only just begun."""
    with pytest.raises(InferloomError, match="'m'") as absent:
        directory().choose("m")
    assert absent.value.code is grpc.StatusCode.NOT_FOUND
    assert directory().models() == []
    settling = directory(settling=True)
    assert not settling.fresh
    for look in (lambda: settling.choose("m"), settling.models):
        with pytest.raises(InferloomError, match="only just begun") as absent:
            look()
        assert (absent.value.lost, absent.value.retry_after_s) == (True, 2.0)
