"""The sliding minute, against a log of everything that was let in."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from inferloom_gateway.access.api_key import Limits
from inferloom_gateway.access.limits.window import ROW, SLOT_S, Window

MINUTE = 60.0


@dataclass
class Minute:
    """A window with a clock, and the log of what it let in."""

    limits: Limits
    window: Window = field(default_factory=lambda: Window([0] * ROW))
    now: float = 1000.0
    log: list[tuple[float, int]] = field(default_factory=list)

    def ask(self, tokens: int = 0) -> tuple[str, int, float | None] | None:
        """Ask for a request; None: it was let in."""
        self.window.advance(int(self.now / SLOT_S))
        refusal = self.window.refuses(self.limits, tokens, enters=True)
        if refusal is None:
            self.window.take(tokens, 0, enters=True)
            self.log.append((self.now, tokens))
        return refusal

    def recent(self, age: float) -> list[int]:
        """What was let in less than ``age`` seconds ago: the tokens of each."""
        return [tokens for at, tokens in self.log if at > self.now - age]


STEPS = st.lists(
    st.tuples(st.floats(0, 30) | st.floats(0, 0.3) | st.just(59.95), st.integers(0, 60)), max_size=120
)


@given(STEPS, st.integers(1, 12), st.integers(50, 200))
def test_no_minute_holds_more_than_the_limit_and_nothing_is_refused_without_need(
    steps: list[tuple[float, int]], requests: int, tokens: int
) -> None:
    """Whatever comes when: what is let in fits the minute behind it, and what is refused would not fit one
    that is a slot longer."""
    minute = Minute(Limits(requests, tokens))
    for pause, wanted in steps:
        minute.now += pause
        refusal = minute.ask(wanted)
        assert len(minute.recent(MINUTE)) <= requests
        assert sum(minute.recent(MINUTE)) <= tokens
        if refusal is not None:
            longer = minute.recent(MINUTE + SLOT_S + 1e-6)
            assert len(longer) + 1 > requests or sum(longer) + wanted > tokens


@given(STEPS, st.integers(1, 6))
def test_who_waits_as_told_is_let_in(steps: list[tuple[float, int]], requests: int) -> None:
    """The wait of a refusal is long enough, and no longer than a minute and a slot."""
    minute = Minute(Limits(requests, 100))
    for pause, wanted in steps:
        minute.now += pause
        for _ in range(2):  # it may be refused for one reason, and then for the other
            if (refusal := minute.ask(wanted)) is None:
                break
            wait = refusal[2]
            assert wait is not None
            assert 0 < wait <= MINUTE + SLOT_S
            minute.now += wait + 1e-6
        else:
            assert minute.ask(wanted) is None


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 50), st.integers(0, 80)), max_size=60))
def test_settling_leaves_what_was_used(calls: list[tuple[float, int, int]]) -> None:
    """After each call is settled, the minute holds what was used: less where it was reserved, more now."""
    minute = Minute(Limits(tokens_per_minute=10**6))
    for pause, reserved, used in calls:
        minute.now += pause
        minute.window.advance(int(minute.now / SLOT_S))
        slot = minute.window.take(reserved, 0, enters=True)
        before = minute.window.tokens
        minute.window.correct(slot, used - reserved)
        minute.window.leave(0)
        assert minute.window.tokens == before + used - reserved
        assert minute.window.running == 0
    minute.now += MINUTE + 2 * SLOT_S
    minute.window.advance(int(minute.now / SLOT_S))
    assert (minute.window.requests, minute.window.tokens) == (0, 0)


def test_what_is_settled_after_its_minute_counts_no_more() -> None:
    """A refund of what has left the minute changes nothing."""
    minute = Minute(Limits(tokens_per_minute=100))
    minute.ask(80)
    slot = int(minute.now / SLOT_S)
    minute.now += 61
    minute.ask(10)
    minute.window.correct(slot, -70)
    assert minute.window.tokens == 10


def test_running_requests_are_counted_by_seat() -> None:
    """A process that comes back has left what it ran behind; the others' go on, and the sums are right even
    where it was ended between two changes."""
    window = Window([0] * ROW)
    window.advance(5000)
    for seat in (0, 1, 1):
        window.take(7, seat, enters=True)
    assert window.refuses(Limits(concurrent=3), 0, enters=True) == ("concurrent", 3, None)
    words = window._words
    words[3] += 5  # a sum without its slot
    window.repair(1)
    assert (window.requests, window.tokens, window.running) == (3, 21, 1)


def test_a_limit_of_nothing_is_never_met() -> None:
    """There is no time to wait for."""
    minute = Minute(Limits(requests_per_minute=0))
    assert minute.ask() == ("requests", 0, None)
    minute = Minute(Limits(tokens_per_minute=10))
    assert minute.ask(11) == ("tokens", 0, None)
