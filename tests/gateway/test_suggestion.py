"""What somebody probably meant."""

import time

import pytest

from inferloom_mesh.errors import Reason
from inferloom_mesh.suggestion import model_not_found, nearest

MODELS = ["all-minilm-l6-v2", "chat", "smollm2-135m-instruct", "org/Model-7B"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("smollm2-135m", "smollm2-135m-instruct"),
        ("smollm2-135m-instuct", "smollm2-135m-instruct"),
        ("Chat", "chat"),
        ("ORG/model-7b", "org/Model-7B"),
        ("all-minilm-l6", "all-minilm-l6-v2"),
        ("gpt-4o", None),
        ("ch", None),
        ("chat", None),
        ("", None),
        ("x" * 100_000, None),
    ],
)
def test_the_nearest_name_is_found(word: str, meant: str | None) -> None:
    """By its beginning, by its letters, whatever their case; and nothing where nothing is near."""
    assert nearest(word, MODELS) == meant


def test_a_suggestion_is_found_in_no_time() -> None:
    """Among any number of names, of any length."""
    began = time.process_time()
    nearest("x" * 64, (f"{'x' * 120}{number}" for number in range(100_000)))
    assert time.process_time() - began < 5


def test_no_name_is_another_error() -> None:
    """There is nothing to suggest for nothing."""
    assert model_not_found("", MODELS).reason is Reason.INVALID_ARGUMENT
