"""What a step yields where there is nothing to choose from."""

from dataclasses import replace

import numpy as np
import pytest

from inferloom_worker.stepping.drawing import NO_TOKEN
from inferloom_worker.stepping.masks import PlaceMask
from inferloom_worker.stepping.outcome import NO_NUMBERS, TOO_EARLY, verify
from inferloom_worker.stepping.sampler import SampledToken
from inferloom_worker.stepping.sequence import SequenceState
from inferloom_worker.stepping.work import Work
from tests.worker.engines import request


@pytest.mark.parametrize(
    ("allowed", "least", "words"),
    [([3], 1, TOO_EARLY), ([3], 0, NO_NUMBERS), ([3, 40], 1, NO_NUMBERS), ([3, 35], 1, TOO_EARLY)],
)
def test_an_end_that_comes_too_early_is_the_callers_doing(allowed: list[int], least: int, words: str) -> None:
    """Where a constraint allows only what min_tokens bars."""
    asked = replace(request([1], 9), min_tokens=least, stop_token_ids=frozenset({3, 35, 99}))
    sequence = SequenceState(asked, mailbox=None, choice=0, arrival=0, submitted_at=0.0)  # type: ignore[arg-type]
    mask = np.zeros(2, np.int32)
    for token in allowed:
        mask[token // 32] |= 1 << token % 32

    outcome = verify(Work(sequence, 1, True), [SampledToken(NO_TOKEN, None)], [PlaceMask(mask)])
    assert (outcome.failure, outcome.by_constraint) == (words, words == TOO_EARLY)
