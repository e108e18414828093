"""How much is drafted: by chance, cost, and what a sequence may still say."""

from inferloom_worker.engine.options import SpeculationSetting
from inferloom_worker.stepping.pacing import Pacing
from inferloom_worker.stepping.sequence import SequenceState
from inferloom_worker.stepping.speculation import MOST_DRAFT_TOKENS, Speculation
from tests.worker.engines import request

TEXT = list(range(100))


def copying(tokens: int = 20, limit: int = 1000) -> SequenceState:
    """A sequence that has so far repeated its prompt."""
    sequence = SequenceState(request(TEXT, limit), mailbox=None, choice=0, arrival=0, submitted_at=0.0)  # type: ignore[arg-type]
    sequence.tokens += TEXT[:tokens]
    return sequence


def straying() -> SequenceState:
    """A sequence whose guesses were all wrong, and that has one more."""
    sequence = copying(0)
    for token in range(0, 80, 2):
        sequence.tokens += [token, token + 1, 500]
    sequence.tokens += TEXT[90:92]
    return sequence


def speculation(setting: SpeculationSetting, base: float = 0.0, slope: float = 1.0) -> Speculation:
    """A speculation on a machine whose steps take ``base + slope · rows``."""
    pacing = Pacing()
    for rows in (1, 2, 4, 8) * 5:
        pacing.observe(rows, base + slope * rows)
    return Speculation(setting, pacing)


def depths(target: Speculation, sequences: list[SequenceState], room: int = 100) -> list[int]:
    """How many tokens are drafted for each sequence when they decode together."""
    plan = target.plan(sequences, len(sequences), room)
    return [len(plan.get(sequence, ())) for sequence in sequences]


def test_a_draft_is_what_the_sequence_said_before() -> None:
    """The plan holds the tokens themselves."""
    sequence = copying(20)
    assert speculation(3).plan([sequence], 1, 100) == {sequence: (20, 21, 22)}


def test_a_lone_stream_that_copies_drafts_much() -> None:
    """Where reading the weights is most of a step, sure guesses go as deep as is allowed."""
    assert depths(speculation("auto", base=40.0), [copying(60)]) == [MOST_DRAFT_TOKENS]


def test_a_crowd_drafts_little() -> None:
    """The more share a step, the surer a guess must be."""
    target = speculation("auto", base=4.0)
    per_stream = [sum(depths(target, [copying() for _ in range(n)])) / n for n in (1, 8, 64)]
    assert per_stream == sorted(per_stream, reverse=True)
    assert per_stream[0] > 2
    assert per_stream[-1] <= 1


def test_where_rows_are_all_the_cost_nothing_is_drafted() -> None:
    """A wrong guess would cost as much as a token."""
    assert depths(speculation("auto", base=0.0), [copying()]) == [0]


def test_before_a_step_was_timed_nothing_is_drafted() -> None:
    """What is not known to win is not tried."""
    assert depths(Speculation("auto", Pacing()), [copying()]) == [0]


def test_a_sequence_whose_guesses_fail_stops_drafting() -> None:
    """And begins again once its guesses, which are checked all along, are right."""
    target = speculation("auto", base=6.0)
    sequence = straying()
    assert depths(target, [sequence, copying()])[0] == 0
    sequence.tokens += TEXT[:90]
    assert depths(target, [sequence])[0] > 0


def test_room_goes_to_the_surest_guesses() -> None:
    """What is left of a step is not shared evenly."""
    assert depths(speculation(8), [straying(), copying(60)], room=5) == [0, 5]


def test_a_draft_never_passes_the_end() -> None:
    """A step yields one token more than it accepts."""
    target = speculation(8)
    assert [depths(target, [copying(20, limit)]) for limit in (21, 22, 25, 40)] == [[0], [1], [4], [8]]


def test_off_drafts_nothing_and_a_number_asks_no_price() -> None:
    """Whatever steps cost."""
    assert depths(speculation("off", base=40.0), [copying()]) == [0]
    assert depths(speculation(8, base=0.0), [straying(), copying()]) == [8, 8]
