"""Telling how likely tokens are."""

from collections.abc import Sequence

import torch
from torch import Tensor

from inferloom_worker.engine.events import TokenLogprobs

LEAST_LOGPROB = -9999.0
"""What is reported for a token that cannot come, as in OpenAI's API: JSON has no infinity."""


def report(logprobs: Tensor, tokens: Sequence[int], count: int) -> list[TokenLogprobs]:
    """The log-probability and rank of a token in each row, and the ``count`` likeliest tokens beside it.

    Args:
        logprobs: float32 [R, vocab_size].
        tokens: The R tokens.
        count: How many of the likeliest are told.
    """
    some = torch.tensor(tokens).to(logprobs.device)[:, None]
    own = logprobs.gather(1, some)
    ranks = (logprobs > own).sum(-1) + 1
    values, top = logprobs.topk(min(count, logprobs.shape[-1]))
    told = (own[:, 0].clamp(min=LEAST_LOGPROB), values.clamp(min=LEAST_LOGPROB), top, ranks)
    return [
        TokenLogprobs(logprob, tuple(zip(at, likeliest, strict=True)), rank)
        for logprob, likeliest, at, rank in zip(*(each.tolist() for each in told), strict=True)
    ]
