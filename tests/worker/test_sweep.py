"""A part of what tools/dev/sweep_models.py compares."""

from pathlib import Path

import pytest
from sweep.causal import compare
from sweep.encoders import KINDS, compare_encoder


@pytest.mark.parametrize("model_type", ["gpt2", "gemma3n_text", "olmo3"])
def test_answers_equal_transformers(model_type: str, tmp_path: Path) -> None:
    """Prompts longer than any window, several at once."""
    assert compare(model_type, tmp_path).verdict == "equal"


@pytest.mark.parametrize("model_type", ["moshi", "bert-generation", "stablelm"])
def test_what_would_differ_is_refused(model_type: str, tmp_path: Path) -> None:
    """In words, and never served as an encoder."""
    outcome = compare(model_type, tmp_path)
    assert outcome.verdict == "refused", outcome


@pytest.mark.parametrize("kind", KINDS)
def test_encoders_equal_sentence_transformers(kind: str, tmp_path: Path) -> None:
    """Short texts and the longest one; a text with one token more is refused."""
    assert compare_encoder(kind, tmp_path).verdict == "equal"
