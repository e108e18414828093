"""What a request's failures lead to."""

import grpc
import pytest

from inferloom.client.course import Course, Trying
from inferloom.client.errors import InferloomError, Kind
from inferloom.v1 import inference_pb2 as pb

LOST = InferloomError("gone", grpc.StatusCode.UNAVAILABLE)
FULL = InferloomError("full", grpc.StatusCode.UNAVAILABLE, reason="SERVER_OVERLOADED", retry_after_s=2)
BARRED = InferloomError(
    "put off", grpc.StatusCode.FAILED_PRECONDITION, reason="REQUEST_BARRED", retry_after_s=1
)
WRONG = InferloomError("no", grpc.StatusCode.INVALID_ARGUMENT, reason="INVALID_ARGUMENT")
UNKNOWN = InferloomError("none", grpc.StatusCode.NOT_FOUND, reason="NOT_FOUND")
TAKEN = InferloomError("taken", grpc.StatusCode.ALREADY_EXISTS, reason="ALREADY_EXISTS")
UNLOADED = InferloomError("not here", grpc.StatusCode.NOT_FOUND, reason="MODEL_NOT_FOUND")
STARTED, WORD, BEAT = (
    pb.GenerateResponse(started=pb.Started(request_id="r")),
    pb.GenerateResponse(delta=pb.Delta(text="a")),
    pb.GenerateResponse(heartbeat=pb.Heartbeat()),
)


class Clock:
    """Stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def course(
    retries: int = 3, timeout: float | None = None, clock: Clock | None = None, stream: str = ""
) -> Course:
    """One without jitter."""
    return Course(
        Trying(retries, timeout), clock or Clock(), lambda: 1.0, stream=stream, resumable_s=60 * bool(stream)
    )


def number(sequence: int) -> pb.GenerateResponse:
    """An event of a stream that is kept."""
    return pb.GenerateResponse(delta=pb.Delta(text="a"), sequence=sequence)


@pytest.mark.parametrize(
    ("code", "reason", "after", "kind"),
    [
        ("UNAVAILABLE", "", None, Kind.LOST),
        ("INTERNAL", "", None, Kind.LOST),  # nginx, of an upstream that died
        ("UNKNOWN", "", None, Kind.LOST),
        ("ABORTED", "", None, Kind.LOST),
        ("CANCELLED", "", None, Kind.LOST),
        ("DEADLINE_EXCEEDED", "", None, Kind.LATE),
        ("RESOURCE_EXHAUSTED", "", None, Kind.FINAL),  # a message that is too large
        ("UNIMPLEMENTED", "", None, Kind.FINAL),
        ("INTERNAL", "SERVER_ERROR", None, Kind.FINAL),
        ("UNAVAILABLE", "WORKER_LOST", None, Kind.FINAL),  # of a stream that ended with it
        ("UNAVAILABLE", "WORKER_LOST", 1.0, Kind.LATER),
        ("UNAVAILABLE", "WORKER_LOST", 5.0, Kind.LATER),  # as a worker says that lost its server
        ("FAILED_PRECONDITION", "REQUEST_BARRED", 1.0, Kind.FINAL),  # workers died of it
        ("UNAVAILABLE", "SERVER_OVERLOADED", 5.0, Kind.LATER),
        ("UNAVAILABLE", "SERVER_OVERLOADED", 30.0, Kind.FINAL),
        ("RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", 20.0, Kind.LATER),
    ],
)
def test_a_failure_is_of_one_kind(code: str, reason: str, after: float | None, kind: Kind) -> None:
    """By who says it, and by whether he says when to come back."""
    error = InferloomError("no", grpc.StatusCode[code], reason=reason, retry_after_s=after)
    assert error.kind is kind


def test_what_nobody_has_seen_anything_of_is_tried_again_later_and_later() -> None:
    """So often, and then it is the answer: for long enough that what is started anew is there again."""
    one = course(retries=3)
    one.took(STARTED)
    assert [one.failed(LOST) for _ in range(3)] == pytest.approx([0.2, 0.8, 3.2])
    with pytest.raises(InferloomError, match="gone"):
        one.failed(LOST)


def test_a_request_that_is_accepted_again_and_again_is_not_tried_for_ever() -> None:
    """Neither Started nor Heartbeats are news."""
    one = course(retries=3)
    for _ in range(3):
        one.took(STARTED)
        one.took(BEAT)
        one.failed(LOST)
    with pytest.raises(InferloomError):
        one.failed(LOST)


def test_started_comes_once_with_what_follows_it() -> None:
    """It is that of the try that the answer is of."""
    one, second = course(), pb.GenerateResponse(started=pb.Started(request_id="r", seed=2))
    assert [*one.took(STARTED), *one.took(BEAT)] == []
    one.failed(LOST)
    assert [*one.took(second), *one.took(WORD), *one.took(BEAT)] == [second, WORD, BEAT]


def test_the_mesh_says_when_to_come_back() -> None:
    """It is asked then or somewhat later. The deadline bounds that, and so does how long is waited for
    anything."""
    assert course().failed(FULL) == 2.5
    with pytest.raises(InferloomError, match="full"):
        course(timeout=2).failed(FULL)
    with pytest.raises(InferloomError, match="put off"):
        course().failed(BARRED)


def test_a_request_that_is_at_fault_is_not_tried_again() -> None:
    """Once is enough."""
    with pytest.raises(InferloomError, match="no"):
        course().failed(WRONG)


def test_what_has_been_seen_is_not_asked_for_again() -> None:
    """The caller would get it twice."""
    one = course()
    one.took(WORD)
    with pytest.raises(InferloomError):
        one.failed(LOST)


def test_a_resumable_stream_goes_on_behind_its_last_event_for_as_long_as_it_is_kept() -> None:
    """However often it is tried; news begin the time anew, and so does a call that lasted."""
    clock = Clock()
    one = course(retries=1, clock=clock, stream="s")
    one.accepted("s")
    for sequence in range(3):
        assert one.took(number(sequence)) == (number(sequence),)
        assert one.failed(LOST) == pytest.approx(0.2)
    assert (one.goes_on, one.after, one.took(number(2))) == (True, 2, ())
    clock.now = 50
    assert one.failed(LOST) == pytest.approx(0.8)
    one.accepted("s")
    clock.now = 100
    assert one.failed(LOST) == pytest.approx(3.2)
    clock.now = 159
    with pytest.raises(InferloomError):
        one.failed(LOST)


def test_a_call_that_is_lost_before_anything_came_of_it_is_asked_for_by_its_name() -> None:
    """And begun again only where nobody keeps it. That costs no time, and is bounded."""
    one = course(retries=3, stream="s")
    assert not one.goes_on
    one.failed(LOST)
    assert (one.goes_on, one.after) == (True, None)
    assert one.failed(UNKNOWN) == 0.0
    assert not one.goes_on
    assert one.failed(TAKEN) == 0.0
    assert one.goes_on
    assert one.failed(UNKNOWN) == 0.0
    with pytest.raises(InferloomError, match="taken"):
        one.failed(TAKEN)


def test_that_a_lost_call_began_nothing_costs_no_try() -> None:
    """A resumable request has as many as a plain one: with a gateway that is away for some seconds too."""
    one = course(retries=1, stream="s")
    one.failed(LOST)
    assert (one.failed(UNKNOWN), one.goes_on) == (0.0, False)
    with pytest.raises(InferloomError, match="gone"):
        one.failed(LOST)
    away = course(retries=3, stream="s")
    for _ in range(3):
        away.failed(LOST)
    assert (away.failed(UNKNOWN), away.goes_on) == (0.0, False)
    busy = course(retries=2, stream="s")
    for failure in (LOST, FULL):
        busy.failed(failure)
    assert (busy.failed(UNKNOWN), busy.goes_on) == (0.0, False)
    with pytest.raises(InferloomError, match="taken"):  # once for each that was lost
        busy.failed(TAKEN)


def test_a_name_that_another_stream_has_is_the_callers_mistake() -> None:
    """As is one that is gone, once something of it has come."""
    with pytest.raises(InferloomError, match="taken"):
        course(stream="s").failed(TAKEN)
    one = course(stream="s")
    one.accepted("s")
    one.took(number(0))
    with pytest.raises(InferloomError, match="none"):
        one.failed(UNKNOWN)


def test_a_stream_that_nobody_keeps_is_like_any_other() -> None:
    """Its events have no places."""
    one = course(stream="s")
    one.took(STARTED)
    one.took(WORD)
    with pytest.raises(InferloomError):
        one.failed(LOST)


def test_what_one_worker_says_is_not_the_answer_while_there_is_another() -> None:
    """It is asked at once, so often as any."""
    for word in (UNLOADED, FULL):
        one = course(retries=1)
        assert one.failed(word, elsewhere=True) == 0.0
        with pytest.raises(InferloomError):
            one.failed(word, elsewhere=True)
    with pytest.raises(InferloomError):
        course().failed(UNLOADED)
    with pytest.raises(InferloomError):
        course().failed(WRONG, elsewhere=True)
