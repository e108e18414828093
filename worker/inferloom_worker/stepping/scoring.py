"""How likely given tokens are: the log-probabilities of a prompt."""

from collections.abc import Sequence

import torch
from torch import Tensor

from inferloom_worker.engine.events import TokenLogprobs
from inferloom_worker.stepping.logprobs import report

MOST_BYTES = 64 * 2**20
"""Logits of one step's places in prompts at most, in bytes of float32: a vocabulary of 128,000 has 131 places
in it."""

LEAST_PLACES = 16
"""Places of one step, however large the vocabulary is."""

_AT_ONCE = 32
"""Places whose distributions are held beside their logits."""


def most_places(vocab_size: int) -> int:
    """Places in prompts whose logits one step may compute."""
    return max(LEAST_PLACES, MOST_BYTES // (4 * vocab_size))


def score(logits: Tensor, tokens: Sequence[int], count: int) -> tuple[TokenLogprobs, ...] | None:
    """The log-probabilities of tokens under the distributions before them.

    Args:
        logits: float32 [R, vocab_size].
        tokens: The R tokens.
        count: How many of the likeliest tokens are told at each place.

    Returns:
        One entry per token. None: there are logits of which none is a finite number.
    """
    entries: list[TokenLogprobs] = []
    for start in range(0, len(tokens), _AT_ONCE):
        rows = logits[start : start + _AT_ONCE]
        rows = rows.masked_fill(~rows.isfinite(), -torch.inf)
        if not bool((rows.amax(-1) > -torch.inf).all()):
            return None
        entries += report(rows.log_softmax(-1), tokens[start : start + _AT_ONCE], count)
    return tuple(entries)
