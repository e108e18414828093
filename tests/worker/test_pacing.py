"""How much of a prompt is read beside decoding."""

import pytest

from inferloom_worker.stepping.pacing import FIRST_ROWS, LEAST_ROWS, MOST_S, Pacing


def fitted(base: float, slope: float, rows: tuple[int, ...] = (1, 4, 16, 64, 300)) -> Pacing:
    """A pacing that has seen steps of a machine."""
    pacing = Pacing(stretch=1.5)
    for count in rows * 5:
        pacing.observe(count, base + slope * count)
    return pacing


@pytest.mark.parametrize(("base", "slope", "decoding"), [(10.0, 0.01, 16), (3.0, 0.05, 32), (20.0, 0.1, 1)])
def test_a_step_stays_within_the_stretch(base: float, slope: float, decoding: int) -> None:
    """The rows that are allowed make the step as much longer as was agreed, and no longer."""
    rows = fitted(base, slope).prompt_rows(decoding, 1)
    alone, beside = base + slope * decoding, base + slope * (decoding + rows)
    assert beside / alone == pytest.approx(1.5, abs=0.02)


@pytest.mark.parametrize(("reading", "times"), [(1, 1), (16, 1), (48, 3), (160, 10)])
def test_a_crowd_that_waits_gets_more(reading: int, times: int) -> None:
    """As many times more as there are sequences that wait for each that decodes."""
    pacing = fitted(10.0, 0.1)
    assert pacing.prompt_rows(16, reading) == pytest.approx(times * 58, abs=times)


def test_a_prompt_always_gets_on() -> None:
    """Where arithmetic is all the cost, a few rows are read nevertheless."""
    assert fitted(0.0, 1.0).prompt_rows(2, 1) == LEAST_ROWS


@pytest.mark.parametrize("rows", [(), (5,)])
def test_without_a_fit_little_is_read(rows: tuple[int, ...]) -> None:
    """Nothing seen, or steps of one size only, allow the least."""
    assert fitted(1.0, 0.001, rows).prompt_rows(4, 1) == LEAST_ROWS


def test_a_machine_that_becomes_slower_is_noticed() -> None:
    """Recent steps outweigh old ones."""
    pacing = fitted(10.0, 0.01)
    for count in (1, 4, 16, 64, 300) * 100:
        pacing.observe(count, 1.0 + 0.1 * count)
    assert pacing.prompt_rows(50, 1) == pytest.approx(30, abs=2)


def test_no_step_takes_long_on_a_slow_machine() -> None:
    """A tenth of a second a row: the first step is small, and the others end in time, whatever is read."""
    pacing, times = Pacing(), list[float]()
    assert pacing.most_rows == FIRST_ROWS
    for _ in range(6):
        rows = min(512, pacing.most_rows)
        times.append(0.4 + 0.1 * rows)
        pacing.took(rows, times[-1])
    assert times[0] <= 0.1 * FIRST_ROWS + 1
    assert all(MOST_S / 2 < seconds <= 1.1 * MOST_S for seconds in times[1:])


def test_a_quick_machine_is_not_held_back() -> None:
    """A step that decodes few says nothing of it, nor does one hiccup for long."""
    pacing = Pacing()
    pacing.took(FIRST_ROWS, 0.05)
    assert pacing.most_rows > 8192
    pacing.took(1, 1.0)
    assert pacing.most_rows > 8192
    pacing.took(512, 60.0)
    assert LEAST_ROWS <= pacing.most_rows < 64
    pacing.took(pacing.most_rows, 0.05)
    assert pacing.most_rows > 2048


def test_a_bound_is_left_again() -> None:
    """By the next step, whatever it was of; what only decodes does not bring it back."""
    pacing = Pacing()
    pacing.took(128, 30.0)
    held = pacing.most_rows
    assert held < 30
    pacing.took(held, 0.5)
    assert pacing.most_rows > 200
    pacing.took(200, 1.0)
    for _ in range(100):
        pacing.took(8, 0.9)  # reading the weights
    assert pacing.most_rows == 1000
