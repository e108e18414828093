"""Answers are alike when only rounding parts them."""

import pytest

from tests.parity.alike import alike

ANSWER = ([(0, {"text": "a", "logprobs": [{"rank": 1, "logprob": -3.0715241}]})], [5, 12])


def answer(logprob: float, text: str = "a", rank: int = 1) -> object:
    """The answer with something else in it."""
    return ([(0, {"text": text, "logprobs": [{"rank": rank, "logprob": logprob}]})], [5, 12])


def test_rounding_parts_no_answers() -> None:
    """The last digit of a float32 is nobody's."""
    assert alike(ANSWER, ANSWER)
    assert alike(ANSWER, answer(-3.0715244))


@pytest.mark.parametrize(
    "other",
    [
        answer(-3.0725),
        answer(float("nan")),
        answer(-3.0715241, text="b"),
        answer(-3.0715241, rank=2),
        ([], [5, 12]),
        ([*ANSWER[0], *ANSWER[0]], [5, 12]),
        "another kind",
    ],
)
def test_everything_else_does(other: object) -> None:
    """A number that is another one, a word, a rank, something missing."""
    assert not alike(ANSWER, other)
    assert not alike(other, ANSWER)
