"""The distance of two distributions, and the file in which llama.cpp leaves its own."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from quality.distance import Distance, coarse, log_softmax
from quality.llama import read
from quality.windows import COUNT, SCORED, WINDOW, windows

VOCABULARY = 51


@pytest.fixture
def logits() -> np.ndarray:
    """Random logits of a window's places."""
    return (3 * np.random.default_rng(3).standard_normal((SCORED, VOCABULARY))).astype(np.float32)


def test_the_divergence_is_that_of_torch(logits: np.ndarray) -> None:
    """Mean over places of the KL divergence from the reference, and the share of equal first choices."""
    expected = log_softmax(logits)
    other = log_softmax(logits + np.random.default_rng(4).standard_normal(logits.shape).astype(np.float32))
    found = Distance.of([(expected, other)])
    kl = F.kl_div(torch.from_numpy(other), torch.from_numpy(expected), reduction="batchmean", log_target=True)
    assert found.kl == pytest.approx(kl.item(), rel=1e-5)
    assert found.agreement == (expected.argmax(-1) == other.argmax(-1)).mean()
    assert found.places == SCORED


def test_a_distribution_is_at_no_distance_from_itself(logits: np.ndarray) -> None:
    """The precision of the file costs less than a difference worth reporting."""
    found = Distance.of([(log_softmax(logits), coarse(log_softmax(logits)))])
    assert abs(found.kl) < 1e-5
    assert found.worst == 0
    assert found.agreement == 1


def test_one_token_too_probable_is_the_worst_difference(logits: np.ndarray) -> None:
    """The difference is seen wherever it is."""
    expected = log_softmax(logits)
    other = coarse(expected)
    other[7, 3] += 0.5
    assert Distance.of([(expected, other)]).worst == pytest.approx(0.5, abs=1e-3)


def test_a_file_of_logits_is_read_as_it_was_written(logits: np.ndarray, tmp_path: Path) -> None:
    """Steps above the least log-probability, after the tokens, padded to an even vocabulary."""
    tokens = np.arange(COUNT * WINDOW, dtype=np.int32)
    expected = coarse(log_softmax(logits))
    least = expected.min(-1, keepdims=True)
    step = (expected.max(-1, keepdims=True) - least) / 65535
    rows = np.zeros((SCORED, 4 + VOCABULARY + 1), np.uint16)
    rows[:, :4] = np.concatenate((step, least), -1).astype(np.float32).view(np.uint16)
    rows[:, 4:-1] = np.rint((expected - least) / step)
    head = b"_logits_" + np.array([WINDOW, VOCABULARY, COUNT], np.int32).tobytes() + tokens.tobytes()
    file = tmp_path / "logits"
    file.write_bytes(head + rows.tobytes() * COUNT)
    found = list(read(file, windows(tokens.tolist())))
    assert len(found) == COUNT
    assert all(np.allclose(one, expected, atol=2e-6) for one in found)


def test_other_tokens_are_refused(tmp_path: Path) -> None:
    """Distributions after other tokens are no comparison."""
    head = b"_logits_" + np.array([WINDOW, VOCABULARY, COUNT], np.int32).tobytes()
    file = tmp_path / "logits"
    file.write_bytes(head + np.zeros(COUNT * WINDOW, np.int32).tobytes())
    with pytest.raises(ValueError, match="other tokens"):
        next(read(file, [[1] * WINDOW] * COUNT))


def test_a_short_text_is_refused() -> None:
    """Fewer places than promised would not be noticed in a mean."""
    with pytest.raises(ValueError, match="2048 are wanted"):
        windows([1] * 2047)
