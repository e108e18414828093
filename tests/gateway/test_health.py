"""What calls say about a worker, and how often requests are tried again."""

from inferloom_gateway.calls.retry_budget import RetryBudget
from inferloom_gateway.fleet.worker_health import Health


def test_five_failures_in_a_row_are_too_many() -> None:
    """Ejection is due at the fifth failure, and a good call starts the count anew."""
    health = Health()
    assert [health.failed(0) for _ in range(4)] == [False] * 4
    health.succeeded(0)
    assert [health.failed(0) for _ in range(5)] == [False] * 4 + [True]


def test_too_many_failures_among_good_calls_are_too_many_as_well() -> None:
    """Over half of at least ten calls of ten seconds, though there are never five failures in a row."""

    def due(pattern: str, seconds: float) -> bool:
        health, found = Health(), False
        for index, good in enumerate(pattern):
            now = 100 + index * seconds
            if good == "g":
                health.succeeded(now)
            else:
                found = health.failed(now)
        return found

    assert due("bbgbbgbbgb", 0.1)
    assert not due("bbgbbgbgb", 0.1)  # nine
    assert not due("bgbgbgbgbgbgb"[1:], 0.1)  # half
    assert not due("bbgbbgbbgb", 3.0)  # in half a minute


def test_each_ejection_lasts_longer() -> None:
    """The second ejection lasts twice as long as the first; good behaviour for long enough resets it."""
    health = Health()
    health.eject(0)
    assert (health.ejected(29), health.ejected(30)) == (True, False)
    health.eject(40)
    assert (health.ejected(99), health.ejected(100)) == (True, False)
    health.eject(1000)
    assert (health.ejected(1029), health.ejected(1030)) == (True, False)


def test_a_few_extra_attempts_are_always_allowed() -> None:
    """With hardly any requests, three may be tried again."""
    budget = RetryBudget()
    budget.request(0)
    assert [budget.take(0) for _ in range(4)] == [True, True, True, False]


def test_extra_attempts_are_a_fifth_of_requests() -> None:
    """Of a hundred recent requests, twenty may be tried again."""
    budget = RetryBudget()
    for _ in range(100):
        budget.request(5)
    assert sum(budget.take(5) for _ in range(50)) == 20


def test_the_budget_forgets() -> None:
    """Attempts count against the budget for ten to twenty seconds."""
    budget = RetryBudget()
    for _ in range(3):
        assert budget.take(5)
    assert not budget.take(15)
    assert budget.take(25)
