"""Drawing tokens in torch, on any device: filters, then inverse transform.

On a GPU each operation is started by itself, which takes longer than most of them do; so they are few. What
comes from Python's memory is copied, which on a GPU waits until what was started before is done: that is once
for the settings, once for each list of rows where only some rows are filtered, and once for the tokens.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inferloom_worker.engine.sampling import LEAST_TEMPERATURE, Sampling

NO_TOKEN = -1
"""What is chosen from logits of which none is finite and allowed."""

_UNSURE = -2
"""What is drawn where more candidates have to be sorted."""
_CANDIDATES = 256
"""Tokens that are sorted before it is known whether a nucleus needs more."""
_MOST = float(np.finfo(np.float32).max)


def draw(finite: Tensor, settings: Sequence[Sampling], uniforms: NDArray[np.float64]) -> list[int]:
    """A token for each row of logits [R, vocab_size] without NaN and plus infinity, drawn with its number in
    [0, 1) from what its settings leave; NO_TOKEN where all are minus infinity. Below LEAST_TEMPERATURE the
    likeliest."""
    vocabulary = finite.shape[-1]
    table = torch.from_numpy(_table(settings, uniforms, vocabulary)).to(finite.device)  # in one copy
    largest, best = finite.max(-1, keepdim=True)
    # The largest is taken off first, so that no quotient is larger than 0. Where all are minus infinity the
    # difference is no number; such a row is drawn with the others, and not used.
    logits = (finite - largest).div_(table[:, :1].float()).nan_to_num_(nan=0.0, neginf=-torch.inf)
    filtered = [at for at, each in enumerate(settings) if each.top_p < 1 or each.top_k > 0 or each.min_p > 0]
    some_k = any(each.top_k > 0 for each in settings)
    if len(filtered) == len(settings):
        tokens = _draw_filtered(logits, table, some_k=some_k)
    elif not filtered:
        tokens = _draw_free(logits, table)
    else:
        tokens = torch.empty_like(best)
        rows = torch.tensor(filtered).to(logits.device)
        drawn = _draw_filtered(logits.index_select(0, rows), table.index_select(0, rows), some_k=some_k)
        tokens.index_copy_(0, rows, drawn)
        rows = torch.tensor(sorted({*range(len(settings))} - {*filtered})).to(logits.device)
        drawn = _draw_free(logits.index_select(0, rows), table.index_select(0, rows))
        tokens.index_copy_(0, rows, drawn)
    if any(each.greedy for each in settings):
        tokens = torch.where(table[:, 5:6] > 0, best, tokens)
    found: list[int] = tokens.masked_fill_(largest == -torch.inf, NO_TOKEN)[:, 0].tolist()
    if unsure := [at for at, token in enumerate(found) if token == _UNSURE]:
        rows = torch.tensor(unsure).to(logits.device)
        some, own = logits.index_select(0, rows), table.index_select(0, rows)
        sorted_in_full = _draw_filtered(some, own, some_k=some_k, in_full=True)
        for at, token in zip(unsure, sorted_in_full[:, 0].tolist(), strict=True):
            found[at] = token
    return found


def _table(
    settings: Sequence[Sampling], uniforms: NDArray[np.float64], vocabulary: int
) -> NDArray[np.float64]:
    """Of each row temperature, top-k, top-p, min-p, the number to draw with, whether it is greedy [R, 6]."""
    table = np.empty((len(settings), 6))
    table[:, 0] = [each.temperature if each.temperature >= LEAST_TEMPERATURE else 1.0 for each in settings]
    # What is divided by infinity would not be banned any more.
    np.minimum(table[:, 0], _MOST, out=table[:, 0])
    table[:, 1] = [each.top_k or vocabulary for each in settings]
    table[:, 2] = [each.top_p for each in settings]
    table[:, 3] = [each.min_p for each in settings]
    table[:, 4] = uniforms
    table[:, 5] = [each.greedy for each in settings]
    return table


def _draw_free(logits: Tensor, table: Tensor) -> Tensor:
    """Draw from all tokens, int64 [R, 1]."""
    return _invert(logits.softmax(-1), table[:, 4:5])


def _draw_filtered(logits: Tensor, table: Tensor, *, some_k: bool, in_full: bool = False) -> Tensor:
    """Draw from the tokens that pass each row's filters, int64 [R, 1]. Unless all are sorted ``in_full``,
    _UNSURE where others than the candidates might pass. ``some_k``: whether a top-k is among the filters."""
    vocabulary = logits.shape[-1]
    count = vocabulary if in_full else min(vocabulary, _CANDIDATES)
    values, order = logits.sort(descending=True) if in_full else logits.topk(count)
    kept = _kept(values, logits, table, some_k=some_k)
    picked = _invert(values.softmax(-1) * kept, table[:, 4:5])
    tokens = order.gather(1, picked)
    if in_full or (count == vocabulary and not some_k):
        return tokens
    # If even the last candidate passes, others might; and a k beyond the candidates needs its whole total.
    # Such rows are rare, and are sorted in full.
    short = kept[:, -1:]
    if some_k:
        top_k = table[:, 1:2]
        short = (top_k > count) & (short | (top_k < vocabulary))
    return tokens.masked_fill_(short, _UNSURE)


def _kept(values: Tensor, logits: Tensor, table: Tensor, *, some_k: bool) -> Tensor:
    """Which of the sorted candidates ``values`` [R, C] pass the filters; the first always does."""
    filters = table[:, 2:4].float()
    top_p, min_p = filters[:, :1], filters[:, 1:]
    # Probabilities after top-k: the total is over the k best, or over everything where k is no limit.
    total = logits.logsumexp(-1, keepdim=True)
    if some_k:
        top_k = table[:, 1:2]
        beyond_k = torch.arange(values.shape[1], device=values.device) >= top_k
        of_best = values.masked_fill(beyond_k, -torch.inf).logsumexp(-1, keepdim=True)
        total = torch.where(top_k < logits.shape[-1], of_best, total)
    probabilities = (values - total).exp_()
    before = probabilities.cumsum(-1) - probabilities
    kept = (before < top_p) & (probabilities >= min_p * probabilities[:, :1])
    if some_k:
        kept &= ~beyond_k
    kept[:, 0] = True
    return kept


def _invert(weights: Tensor, u: Tensor) -> Tensor:
    """Inverse transform: the first places [R, 1] where cumulated weights [R, C] exceed u [R, 1] of their
    sum."""
    cumulated = weights.double().cumsum(-1)
    total = cumulated[:, -1:].contiguous()
    found = torch.searchsorted(cumulated, u * total, right=True)
    # u times the total may be rounded to the total; then it is the last place that weighs anything.
    return torch.minimum(found, torch.searchsorted(cumulated, total))
