"""What calls say about a worker, and how often requests are tried again."""

from inferloom_gateway.calls.retry_budget import RetryBudget
from inferloom_gateway.fleet.tally import Tally
from inferloom_gateway.fleet.worker_health import Due, Health


def test_five_failures_in_a_row_are_too_many() -> None:
    """Ejection is due at the fifth failure, and a good call starts the count anew."""
    health = Tally()
    assert [health.failed(0) for _ in range(4)] == [False] * 4
    health.succeeded(0)
    assert [health.failed(0) for _ in range(5)] == [False] * 4 + [True]


def test_too_many_failures_among_good_calls_are_too_many_as_well() -> None:
    """Over half of at least ten calls of ten seconds, though there are never five failures in a row."""

    def due(pattern: str, seconds: float) -> bool:
        health, found = Tally(), False
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
    health = Tally()
    health.eject(0)
    assert (health.ejected(29), health.ejected(30)) == (True, False)
    health.eject(40)
    assert (health.ejected(99), health.ejected(100)) == (True, False)
    health.eject(1000)
    assert (health.ejected(1029), health.ejected(1030)) == (True, False)


def test_what_a_model_fails_itself_counts_against_that_model() -> None:
    """Its worker's other models may be fine. Where all calls failed, and not of one model alone, it is the
    worker, whichever failed them."""
    health = Health()
    for _ in range(9):
        due = health.model_failed(0, "broken")
    assert due == Due(worker=False, model=True)
    assert health.model_failed(0, "other") == Due(worker=True, model=False)
    assert health.failed(0)
    health.succeeded(0, "fine")
    assert health.model_failed(0, "other") == Due(worker=False, model=False)
    assert health.model_failed(0, "broken") == Due(worker=False, model=True)  # in a row still
    assert [health.failed(0) for _ in range(3)] == [False, False, True]


def test_a_broken_model_among_good_calls_of_others_is_no_broken_worker() -> None:
    """Over half of all calls fail, and all that fail are of one model."""
    health = Health()
    found = []
    for _ in range(20):
        found += [health.model_failed(0, "broken") for _ in range(2)]
        health.succeeded(0, "fine")
    assert not any(due.worker for due in found)
    assert found[-1].model
    assert not health.failed(0)


def test_a_model_that_is_left_alone_counts_no_more_against_its_worker() -> None:
    """What came of its failures is done; a model that goes is forgotten."""
    health = Health()
    for _ in range(5):
        health.model_failed(0, "broken")
    health.eject_model(0, "broken")
    assert not health.ejected(0)
    assert (health.away(29), health.away(30)) == (True, False)
    assert [health.failed(0) for _ in range(4)] == [False] * 4
    health.keep(["fine"])
    assert not health.away(0)


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
