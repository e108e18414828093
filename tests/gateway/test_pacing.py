"""What is measured of a stream that is held back."""

import pytest

from inferloom_gateway.calls.pacing import SHORT_S, Pacing
from inferloom_gateway.fleet.pace import Pace

GAP_S = 0.02


class Stream:
    """A stream with a token each 20 ms, which is measured."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pace = Pace()
        self.pacing = Pacing()
        self.pacing.begin(self.now)
        self.now += 1
        self.pacing.first(self.pace, self.now)

    def tokens(self, count: int) -> None:
        """Some that come together."""
        if self.pacing.counted is None:
            self.pacing.came(self.now)
        else:
            self.pacing.counted.tokens += count

    def run(self, seconds: float, hold_s: float = 0.0) -> None:
        """Let tokens come one by one, each held back for a while."""
        until = self.now + seconds
        while self.now < until:
            self.now += GAP_S - hold_s
            self.tokens(1)
            self.pacing.want(False, self.now)
            self.now += hold_s
            self.pacing.want(True, self.now)

    def gap_s(self) -> float | None:
        """What is measured."""
        self.pace.look(self.now)
        return self.pace.gap.read(self.now)


def test_time_in_which_nothing_is_wanted_and_what_comes_behind_it_do_not_count() -> None:
    """However long it is, and however much was made meanwhile."""
    stream = Stream()
    for _ in range(10):
        stream.run(1)
        stream.pacing.want(False, stream.now)
        stream.tokens(1)
        stream.now += 9
        stream.pace.look(stream.now)
        stream.pacing.want(True, stream.now)
        stream.tokens(450)
        stream.pace.look(stream.now)
    stream.run(3)
    assert stream.gap_s() == pytest.approx(GAP_S, rel=0.1)


def test_a_reader_that_holds_each_event_back_for_a_moment_is_measured_like_others() -> None:
    """As one is that reads them one by one."""
    stream = Stream()
    stream.run(5, hold_s=GAP_S / 2)
    assert stream.gap_s() == pytest.approx(GAP_S, rel=0.1)


@pytest.mark.parametrize("held_s", [SHORT_S / 2, 2 * SHORT_S])
def test_a_first_token_that_was_held_back_says_nothing_of_how_long_its_prompt_took(held_s: float) -> None:
    """Where that was for longer than a moment."""
    pace = Pace()
    for number in range(20):
        pacing, now = Pacing(), 100.0 + number / 10
        pacing.begin(now)
        pacing.want(False, now)
        pacing.want(True, now + held_s)
        pacing.first(pace, now + 0.5)
        pacing.completed(0.0, 1000, now + 0.5)
        pacing.end(now + 0.5)
    assert (pace.first.read(102.0) is None) is (held_s > SHORT_S)
