"""The longest step, and what is told of it."""

from typing import Any

import pytest

from inferloom_mesh.durations import seconds
from inferloom_worker.joining.self_description import SelfDescription
from inferloom_worker.stepping.longest_step import LongestStep, worth_telling
from tests.worker.test_host import make_host


def test_it_is_the_longest_of_the_last_minute_or_two() -> None:
    """A long step is remembered through the minute after its own, and then forgotten."""
    longest = LongestStep(window_s=60)
    assert longest.seconds == 0
    longest.observe(0, 0.1)
    longest.observe(30, 2.0)
    longest.observe(59, 0.1)
    assert longest.seconds == 2.0
    longest.observe(61, 0.2)
    assert longest.seconds == 2.0
    longest.observe(122, 0.1)
    assert longest.seconds == 0.2


def test_an_engine_that_slept_forgets() -> None:
    """What was measured before a pause of two minutes is not of late."""
    longest = LongestStep(window_s=60)
    longest.observe(0, 2.0)
    longest.observe(500, 0.1)
    assert longest.seconds == 0.1


@pytest.mark.parametrize(
    ("told", "measured", "worth"),
    [(1.0, 1.2, False), (1.0, 1.3, True), (1.0, 0.6, False), (1.0, 0.4, True), (0.0, 0.001, True)],
)
def test_small_changes_are_not_told(told: float, measured: float, worth: bool) -> None:
    """It is in the lease, which every gateway is sent."""
    assert worth_telling(told, measured) is worth


async def test_a_worker_describes_its_models_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """In their cards and those of their further names, each time that it renews its lease."""
    host = make_host()
    await host.start([("a", "echo")], aliases=[("b", "a")])
    described = SelfDescription(host, capacity=1)
    assert not any(card.HasField("longest_step") for card in described.worker().models)
    model: Any = host.served("a")
    load = model.engine.load()
    for measured, told in ((0.5, 0.5), (0.55, 0.5), (0.7, 0.7), (0.1, 0.1)):
        object.__setattr__(load, "longest_step_s", measured)
        monkeypatch.setattr(model.engine, "load", lambda: load)
        cards = described.worker().models
        assert [seconds(card.longest_step) for card in cards] == [told, told]
