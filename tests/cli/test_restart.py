"""When a service that ended is started again."""

import pytest

from inferloom_cli.runmesh.restart import MOST_FAILED_STARTS, WINDOW_S, RestartPolicy


def fail_to_start(policy: RestartPolicy, at: float) -> float | None:
    return policy.ended(started=at, ready=None, now=at + 0.1)


def test_waits_grow_while_a_service_keeps_ending() -> None:
    """A service that ends soon after it was ready waits longer each time, up to two seconds."""
    policy = RestartPolicy()
    ends = [policy.ended(started=t, ready=t + 1, now=t + 2) for t in range(10)]
    waits = [wait for wait in ends if wait is not None]
    assert len(waits) == 10
    assert 0.05 <= waits[0] <= 0.1
    assert 1.0 <= waits[-1] <= 2.0


def test_a_service_that_ran_long_is_started_again_at_once() -> None:
    """After half a minute of good service the wait is short again."""
    policy = RestartPolicy()
    for t in range(10):
        policy.ended(started=t, ready=t + 1, now=t + 2)
    wait = policy.ended(started=100, ready=101, now=101 + WINDOW_S)
    assert wait is not None
    assert wait <= 0.1


def test_failed_starts_in_a_row_are_given_up() -> None:
    """The last failed start within the window gets no other try."""
    policy = RestartPolicy()
    answers = [fail_to_start(policy, at) for at in range(MOST_FAILED_STARTS)]
    assert None not in answers[:-1]
    assert answers[-1] is None


def test_failed_starts_long_apart_are_not_given_up() -> None:
    """Starts that failed before the window began no longer count."""
    policy = RestartPolicy()
    for at in range(10):
        assert fail_to_start(policy, at * WINDOW_S) is not None


@pytest.mark.parametrize("ends", [MOST_FAILED_STARTS + 5])
def test_ends_after_ready_are_never_given_up(ends: int) -> None:
    """A service that starts well each time is started again however often it is killed."""
    policy = RestartPolicy()
    assert all(policy.ended(started=t, ready=t, now=t) is not None for t in range(ends))
