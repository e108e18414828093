"""Which worker one call is given next, or why none."""

from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.absences import Absences
from inferloom_gateway.calls.compute_pin import ComputePin
from inferloom_gateway.calls.poison import Poison
from inferloom_gateway.calls.selection import LONGEST_REST_S, Selection
from inferloom_gateway.calls.suspects import Suspects
from inferloom_gateway.calls.suspicion import Suspicion
from inferloom_gateway.fleet.ask import Ask
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_gateway.fleet.router import Router
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason
from tests.gateway.samples import CHAT, entry, snapshot

REQUEST = pb.GenerateRequest(model="chat", text="a")
NO_ROOM = InferloomError(Reason.SERVER_OVERLOADED, "No room.", retry_after=5)
DRAINS = InferloomError(Reason.NO_WORKER, "The worker is draining.", retry_after=2)


class Call:
    """One call of the model ``chat``, at whose beginning it is 0, before these workers."""

    def __init__(self, *workers: str, task: Any = pb.TASK_CHAT, deadline: float | None = 600) -> None:
        self.fleet = Fleet()
        self.fleet.apply(snapshot(*map(entry, workers)), 0)
        self.selection = Selection(
            *(self.fleet, Router(self.fleet), ComputePin()),
            Suspicion(Suspects(), Poison(), "", REQUEST, "r"),
            Absences(self.fleet, 10, lambda: 0),
            CallContext("r", deadline),
            Ask("chat", task, None, REQUEST),
            "chat",
        )

    def member(self, name: str) -> Member:
        """A worker."""
        found = self.fleet.member(name)
        assert found is not None
        return found

    def chosen(self, now: float) -> str | None:
        """The name of the worker that it is given. None: it waits."""
        choice = self.selection.choose(now)
        return None if choice is None else choice.member.id

    def refused(self, now: float) -> InferloomError:
        """Why it is given none."""
        with pytest.raises(InferloomError) as raised:
            self.selection.choose(now)
        return raised.value

    def told(self, name: str, error: InferloomError, now: float) -> None:
        """A worker says why it does not answer."""
        self.selection.said(error)
        self.selection.pass_over(self.member(name), attempt.refused(error), now)


def test_a_worker_that_failed_is_passed_over() -> None:
    """Then the next is chosen, and where there is none, it is lost."""
    call = Call("a", "b")
    first = call.chosen(0)
    assert first is not None
    call.selection.pass_over(call.member(first), attempt.broken(), 0)
    second = call.chosen(0)
    assert {first, second} == {"a", "b"}
    assert second is not None
    call.selection.pass_over(call.member(second), attempt.broken(), 0)
    assert call.refused(0).reason is Reason.WORKER_LOST


def test_what_a_worker_said_is_told_where_nobody_else_answers() -> None:
    """Not, though, that another was lost, which says nothing of it. What is kept is never what is raised:
    that would hold the frames that it went through, and with them the request."""
    call = Call("a")
    call.told("a", NO_ROOM, 0)
    call.selection.said(InferloomError(Reason.WORKER_LOST, "Lost."))
    full = InferloomError(Reason.SERVER_OVERLOADED, "The line is full.")
    for told in (call.refused(0), call.selection.why_full(full)):
        assert (told.message, told is NO_ROOM) == (NO_ROOM.message, False)
    assert Call("a").selection.why_full(full) is full


def test_a_worker_that_has_no_room_is_asked_once_there_is() -> None:
    """Whoever is told so says it."""
    call = Call("a")
    call.told("a", NO_ROOM, 0)
    assert call.selection.prospects.full_s(0) == 0
    call.selection.tried.again()
    assert call.chosen(0) == "a"


@pytest.mark.parametrize("resumes", [False, True])
def test_a_worker_that_cannot_serve_the_model_rests(resumes: bool) -> None:
    """For as long as it says; what has begun asks it again soon. Meanwhile the call waits."""
    call = Call("a")
    if resumes:
        card = call.member("a").models["chat"]
        card.supported_parameters.append("resume")
        call.selection.continuing.begun(card)
        call.selection.continuing.leaves(1, None)
    rest_s = LONGEST_REST_S if resumes else 2
    call.told("a", DRAINS, 1)
    assert call.chosen(1) is None
    assert call.selection.asks_again_at(1) == 1 + rest_s
    assert call.chosen(1 + rest_s) == "a"


def test_a_call_asks_again_when_its_time_is_over() -> None:
    """Or when it gives up, if that is sooner."""
    call = Call("a", deadline=1)
    call.told("a", DRAINS, 0)
    assert call.chosen(0) is None
    assert call.selection.asks_again_at(0) == 1


def test_a_model_that_does_not_do_what_is_asked_is_named() -> None:
    """As it is there, and no worker of it does."""
    error = Call("a", task=pb.TASK_EMBED).refused(0)
    assert (error.reason, error.param) == (Reason.UNSUPPORTED_TASK, "model")
    assert CHAT.id in error.message


def test_a_model_without_a_worker_is_waited_for_if_it_had_one() -> None:
    """For a while; one that none had does not exist."""
    call = Call("a")
    call.fleet.apply(snapshot(), 1)
    assert call.chosen(1) is None
    assert call.refused(11).reason is Reason.NO_WORKER
    assert Call().refused(0).reason is Reason.MODEL_NOT_FOUND
