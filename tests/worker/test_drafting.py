"""Guesses from a sequence's own past."""

import random
import tracemalloc

from inferloom_worker.engine.prediction import Prediction
from inferloom_worker.stepping.drafting import MOST_PLACES, NEXT_TRUST, Drafter


def reading(tokens: list[int], prompt: int | None = None) -> Drafter:
    """A drafter that has read these tokens, all of them a prompt unless told otherwise."""
    drafter = Drafter(tokens, len(tokens) if prompt is None else prompt)
    drafter.update()
    return drafter


def test_what_followed_before_is_the_guess() -> None:
    """The last two tokens stood before; what followed them is drafted."""
    assert reading([1, 2, 3, 4, 5, 9, 1, 2]).draft(4) == (3, 4, 5, 9)


def test_the_latest_of_several_places_is_taken() -> None:
    """What was said last is the likeliest to be said again."""
    assert reading([1, 2, 3, 9, 1, 2, 4, 8, 1, 2]).draft(2) == (4, 8)


def test_a_place_that_keeps_being_right_is_kept() -> None:
    """A later place with the same last tokens does not distract from the text that is being copied."""
    copied = [1, 2, 3, 4, 5, 6, 7]
    assert reading([*copied, 3, 4, 0, *copied[:4]]).draft(3) == (5, 6, 7)


def test_a_loop_goes_on() -> None:
    """A draft may be longer than what there is to copy."""
    assert reading([8, 1, 2, 3, 1, 2, 3, 1]).draft(7) == (2, 3, 1, 2, 3, 1, 2)


def test_there_is_no_guess_in_new_text() -> None:
    """Nothing stood before."""
    for tokens in ([], [1], [1, 2, 3, 4]):
        assert reading(tokens).chance(1) == 0.0


def test_right_guesses_raise_the_chance_and_wrong_ones_lower_it() -> None:
    """Every token is checked against the guess that was made of it, drafted or not."""
    text = list(range(50))
    tokens = [*text, 0, 1]
    drafter = reading(tokens)
    chances = [drafter.chance(1)]
    for token in text[2:20]:
        tokens.append(token)
        drafter.update()
        chances.append(drafter.chance(1))
    assert chances == sorted(chances)
    assert chances[-1] > 0.9
    for token in range(20, 40, 2):  # each pair of tokens stood before, and something else follows it now
        tokens += [token, token + 1, 99]
        drafter.update()
    tokens += [45, 46]
    drafter.update()
    assert 0.0 < drafter.chance(1) < 0.2


def test_the_prompt_says_nothing_of_the_answer() -> None:
    """However repetitive the prompt is, trust begins where it always begins."""
    same = reading([1, 2, 3] * 20)
    assert same.chance(1) == NEXT_TRUST
    assert reading([1, 2, 3] * 20, prompt=30).chance(1) > NEXT_TRUST


def test_a_deeper_guess_is_less_likely() -> None:
    """Each token of a draft is right only if all before it are."""
    drafter = reading([1, 2, 3, 4, 5, 1, 2])
    chances = [drafter.chance(depth) for depth in range(1, 6)]
    assert chances == sorted(chances, reverse=True)


def test_reading_bit_by_bit_is_reading_at_once() -> None:
    """The index grows with the sequence."""
    tokens: list[int] = []
    growing = Drafter(tokens, 4)
    for token in [1, 2, 3, 1, 2, 3, 1, 2, 4, 1, 2]:
        tokens.append(token)
        growing.update()
    whole = reading(list(tokens), 4)
    assert (growing.draft(5), growing.chance(3)) == (whole.draft(5), whole.chance(3))


def test_a_long_prompt_is_looked_through_from_near_its_end() -> None:
    """What a first step takes in is bounded, and what is near is found all the same."""
    tokens = [7, 8, 9, *range(100, 100 + MOST_PLACES - 3), 50, 51, 52, 7, 8]
    drafter = Drafter(tokens, len(tokens))
    drafter.update()
    assert not drafter.has_guess
    tokens += [50, 51]
    drafter.update()
    assert drafter.draft(1) == (52,)


def test_a_long_prompt_takes_bounded_memory() -> None:
    """Guesses come from the latest places, a few megabytes of them, however long the prompt is."""
    rng = random.Random(3)
    tokens = [rng.randrange(50_000) for _ in range(100_000)]
    tracemalloc.start()
    drafter = reading(tokens)
    tokens += [rng.randrange(50_000) for _ in range(20_000)]
    drafter.update()
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used < 3 << 20
    tokens += tokens[-5:-2]
    drafter.update()
    assert drafter.draft(2) == tuple(tokens[-5:-3])


def test_a_prediction_is_followed_from_its_beginning() -> None:
    """Before anything was generated; and at its end there is no guess of it."""
    drafter = Drafter([1, 2, 3], 3, prediction=Prediction((7, 8, 9)))
    drafter.update()
    assert drafter.draft(2) == (7, 8)
    assert drafter.draft(5) == (7, 8, 9)
    assert drafter.chance(1) > 0.8


def test_a_prediction_is_taken_up_again_after_an_error() -> None:
    """At the next place in it that begins as the text does, rather than at an earlier one."""
    tokens = [1, 2, 3]
    drafter = Drafter(tokens, 3, prediction=Prediction((5, 6, 7, 8, 5, 6, 9, 5, 6, 4)))
    tokens += [5, 6, 7, 0]
    drafter.update()
    assert not drafter.has_guess
    tokens += [5, 6]
    drafter.update()
    assert drafter.draft(3) == (9, 5, 6)
