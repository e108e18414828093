"""Requests and workers as a gateway's picture counts them, and what it says happened."""

from types import SimpleNamespace

from inferloom.v1 import gateway_pb2 as pb
from inferloom.v1 import registry_pb2 as rpb
from inferloom_gateway.calls.records import Attempt, Move, Record
from inferloom_gateway.fleet.members import Fleet
from inferloom_gateway.picture.fleet_watch import FleetWatch
from inferloom_gateway.picture.happenings import Happenings
from inferloom_gateway.picture.requests import Requests
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason
from tests.gateway.samples import CHAT, EMBED, change, entry, snapshot

LOST = InferloomError(Reason.WORKER_LOST, "It was lost.")
FULL = InferloomError(Reason.SERVER_OVERLOADED, "It is full.")


def record(name: str = "r", model: str = "chat", method: str = "generate") -> Record:
    """A request that has just come."""
    return Record(CallContext(name), method, model, 0.0, began_at=1000.0)


class Seen:
    """A fleet of one worker, and a picture of what is asked of it."""

    def __init__(self) -> None:
        self.fleet = Fleet()
        self.fleet.apply(snapshot(entry("a")), 0)
        self.happenings = Happenings("g")
        self.now = 5.0
        self.requests = Requests(self.fleet, self.happenings, lambda: self.now)

    @property
    def kinds(self) -> list[str]:
        """What happened, in short."""
        return [
            pb.HappeningKind.Name(each.kind).removeprefix("HAPPENING_KIND_") for each in self.happenings._ring
        ]


def test_requests_are_counted_in_all_and_for_the_models_that_there_are() -> None:
    """What a caller makes up is counted in all only."""
    seen = Seen()
    known, made_up = record(), record(model="nothing")
    for each in (known, made_up):
        seen.requests.on_started(each)
    assert seen.requests.all.running == 2
    assert seen.requests.models["chat"].running == 1
    assert "nothing" not in seen.requests.models
    assert list(seen.requests.running()) == [known, made_up]
    known.delivered, known.frames, known.first_token_s, known.ended_s = 10, 5, 0.5, 1.5
    known.completion_tokens, known.prompt_tokens = 10, 7
    seen.requests.look(seen.now)
    made_up.error = InferloomError(Reason.MODEL_NOT_FOUND, "No.")
    for each in (known, made_up):
        seen.requests.on_ended(each)
        seen.requests.on_ended(each)  # once is enough
    totals = seen.requests.totals
    assert (totals.requests, totals.failures, totals.completion_tokens, totals.prompt_tokens) == (2, 1, 10, 7)
    assert seen.requests.all.running == 0
    assert seen.kinds == []  # who asks for what there is not is no event


def test_what_was_generated_is_counted_while_it_runs() -> None:
    """Each token once, at the look after it came; a model that nobody has any more is forgotten."""
    seen = Seen()
    one = record()
    seen.requests.on_started(one)
    for second, delivered in enumerate((3, 3, 8)):
        one.delivered = delivered
        seen.requests.look(second)
    assert seen.requests.models["chat"].tokens.read(3.0) > 0
    seen.requests.on_ended(one)
    seen.fleet.apply(snapshot(entry("a", models=(EMBED,))), 6)
    seen.requests.look(1000.0)
    assert seen.requests.models == {}


def test_retries_moves_and_failures_are_told() -> None:
    """But not that a worker was full, which happens every day."""
    seen = Seen()
    one = record()
    seen.requests.on_started(one)
    one.attempts = [Attempt("a", 1, (), 0.0, error=FULL), Attempt("b", 1, (), 0.1, again=True)]
    seen.requests.on_attempt(one, one.attempts[0])
    seen.requests.on_attempt(one, one.attempts[1])
    assert (seen.kinds, seen.requests.totals.retries) == ([], 1)
    one.attempts[1].error = LOST
    one.attempts.append(Attempt("c", 1, (), 0.2, again=True))
    seen.requests.on_attempt(one, one.attempts[2])
    assert seen.kinds == ["REQUEST_RETRIED"]
    move = Move(tokens=4, left="c", went_to="d", why="stalled", at_s=0.9)
    one.moves.append(move)
    seen.requests.on_moved(one, move)
    one.attempts.append(Attempt("d", 1, (), 0.8, again=True))
    seen.requests.on_attempt(one, one.attempts[3])  # which the move has told of
    one.error, one.ended_s = LOST, 1.0
    seen.requests.on_ended(one)
    assert seen.kinds == ["REQUEST_RETRIED", "REQUEST_MOVED", "REQUEST_FAILED"]
    assert seen.requests.totals.moves == 1


class Watched:
    """A fleet that is looked at."""

    def __init__(self) -> None:
        self.fleet = Fleet()
        self.happenings = Happenings("g")
        self.membership = SimpleNamespace(followed="r:7000")
        self._watch = FleetWatch(self.fleet, self.membership, self.happenings)  # type: ignore[arg-type] # what it reads of it
        self._at = 0.0

    def look(self) -> list[str]:
        """What happened since the last look."""
        before = len(self.happenings._ring)
        self._at += 100.0
        self._watch.look(self._at, self._at)
        return [
            pb.HappeningKind.Name(each.kind).removeprefix("HAPPENING_KIND_")
            for each in list(self.happenings._ring)[before:]
        ]


def test_what_was_there_at_the_first_look_did_not_happen() -> None:
    """What comes later did, in its order."""
    seen = Watched()
    seen.fleet.apply(snapshot(entry("a")), 0)
    assert seen.look() == []
    seen.fleet.apply(change(put=entry("b", state=rpb.WORKER_STATE_STARTING, models=())), 0)
    assert seen.look() == ["WORKER_CAME"]
    seen.fleet.apply(change(put=entry("b", models=(CHAT,))), 0)
    assert seen.look() == ["WORKER_READY", "MODEL_CAME"]
    seen.fleet.apply(change(put=entry("b", state=rpb.WORKER_STATE_DRAINING, models=())), 0)
    assert seen.look() == ["WORKER_DRAINING", "MODEL_LEFT"]
    seen.fleet.apply(change(removed=rpb.WorkerRemoved(worker_id="b", epoch=1)), 0)
    assert seen.look() == ["WORKER_LEFT"]
    assert seen.look() == []


def test_a_worker_that_came_anew_in_between_is_told_of() -> None:
    """By its epoch."""
    seen = Watched()
    seen.fleet.apply(snapshot(entry("a")), 0)
    seen.look()
    seen.fleet.apply(change(put=entry("a", epoch=2)), 0)
    assert seen.look() == ["WORKER_CAME"]


def test_leases_ways_and_ejections_come_and_go() -> None:
    """Each with its opposite."""
    seen = Watched()
    seen.fleet.apply(snapshot(entry("a")), 0)
    seen.look()
    seen.fleet.apply(change(put=entry("a", lease=rpb.LEASE_STATE_SUSPECT)), 1)
    assert seen.look() == ["LEASE_SUSPECT"]
    seen.fleet.apply(change(put=entry("a")), 2)
    assert seen.look() == ["LEASE_GOOD"]
    (member,) = seen.fleet.members()
    member.health.reachable = False
    assert seen.look() == ["WORKER_UNREACHABLE"]
    member.health.reachable = True
    assert seen.look() == ["WORKER_REACHABLE"]
    at = 100.0 * 5
    assert seen.fleet.eject_model(member, "chat", at)
    assert seen.look() == []  # it is over by then
    assert seen.fleet.eject_model(member, "chat", at + 190)
    assert seen.look() == ["WORKER_EJECTED"]
    assert [seen.happenings._ring[-1].model, seen.happenings._ring[-1].reason] == ["chat", "failures"]
    assert seen.look() == ["WORKER_BACK"]
    assert seen.happenings._ring[-1].model == "chat"


def test_registries_that_are_lost_frozen_and_back_are_told() -> None:
    """The first one that is followed did not happen."""
    seen = Watched()
    seen.fleet.apply(snapshot(entry("a")), 0)
    assert seen.look() == []
    seen.membership.followed = None
    assert seen.look() == ["REGISTRY_LOST"]
    seen.membership.followed = "s:7000"
    assert seen.look() == ["REGISTRY_BACK"]
    seen.fleet.apply(change(snapshot=rpb.Snapshot(workers=[entry("a")], frozen="no quorum")), 0)
    assert seen.look() == ["REGISTRY_FROZEN"]
    seen.fleet.apply(snapshot(entry("a")), 0)
    assert seen.look() == ["REGISTRY_THAWED"]
