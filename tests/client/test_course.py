"""What a request's failures lead to."""

import grpc
import pytest

from inferloom.client.course import Course, Trying
from inferloom.client.errors import InferloomError
from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2

LOST = InferloomError("gone", grpc.StatusCode.UNAVAILABLE)
FULL = InferloomError(
    "full", grpc.StatusCode.RESOURCE_EXHAUSTED, reason="SERVER_OVERLOADED", retry_after_s=2.5
)
WRONG = InferloomError("no", grpc.StatusCode.INVALID_ARGUMENT, reason="INVALID_ARGUMENT")
STARTED, WORD = (
    pb.GenerateResponse(started=pb.Started(request_id="r")),
    pb.GenerateResponse(delta=pb.Delta(text="a")),
)


def course(retries: int = 3, timeout: float | None = None) -> Course:
    """One whose clock stands still, without jitter."""
    return Course(Trying(retries, timeout), lambda: 0.0, lambda: 1.0)


def test_what_nobody_has_seen_anything_of_is_tried_again_later_and_later() -> None:
    """So often, and then it is the answer."""
    one = course(retries=3)
    one.took(STARTED)
    assert [one.failed(LOST) for _ in range(3)] == pytest.approx([0.1, 0.2, 0.4])
    with pytest.raises(InferloomError, match="gone"):
        one.failed(LOST)


def test_the_mesh_says_when_to_come_back() -> None:
    """And the deadline bounds it."""
    assert course().failed(FULL) == 2.5
    with pytest.raises(InferloomError, match="full"):
        course(timeout=2).failed(FULL)


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


def test_a_resumable_stream_goes_on_behind_its_last_event() -> None:
    """And news begin the count of tries anew."""
    one = course(retries=1)
    one.stream = "s"
    for sequence in range(3):
        one.took(pb.GenerateResponse(delta=pb.Delta(text="a"), sequence=sequence))
        assert one.failed(LOST) == pytest.approx(0.1)
    assert (one.goes_on, one.after) == (True, 2)
    with pytest.raises(InferloomError):
        one.failed(LOST)


def test_a_registry_that_is_late_is_lost_and_the_request_is_not() -> None:
    """Where it has time. Its own deadline is one."""
    late = InferloomError("late", grpc.StatusCode.DEADLINE_EXCEEDED)
    one = course()
    one.asked = "a:1"
    assert one.patience() == 5.0
    lost = one.unheard(late, one.patience())
    assert (lost.lost, str(lost)) == (True, "The registry at a:1 does not answer.")
    assert one.failed(lost) == pytest.approx(0.1)

    short = course(timeout=2)
    assert short.patience() == 2.0
    assert short.unheard(late, short.patience()) is late


def test_a_worker_that_a_new_registry_does_not_know_may_come_back() -> None:
    """Until it knows better, it is asked again."""
    one = course(retries=1)
    with pytest.raises(InferloomError) as absent:
        one.worker("m", registry_pb2.ListWorkersResponse(settling=True))
    assert one.failed(absent.value) == 2.0
    with pytest.raises(InferloomError) as absent:
        one.worker("m", registry_pb2.ListWorkersResponse())
    assert absent.value.code is grpc.StatusCode.NOT_FOUND


def test_a_worker_that_failed_is_not_called_again_while_there_are_others() -> None:
    """Each once; then all may be called anew. What failed before a worker was called is nobody's."""
    one, able = course(retries=9), ["a:1", "b:1", "c:1"]
    called = []
    for _ in range(4):
        called.append(one.choose(able))
        one.failed(LOST)
        one.failed(LOST)
    assert called == ["a:1", "b:1", "c:1", "a:1"]
    assert one.choose(["a:1"]) == "a:1"
