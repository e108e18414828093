"""Causal attention over the paged cache, for a step that mixes decoding rows and prompt chunks."""

import torch
import torch.nn.functional as F
from torch import Tensor

from inferloom_worker.models.cache import PagedCache
from inferloom_worker.stepping.batch import Span, StepTensors


def paged_attention(
    query: Tensor,
    cache: PagedCache,
    layer: int,
    batch: StepTensors,
    *,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Attend from every row of the step to its sequence's state, its own token included.

    Args:
        query: [T, heads, head_dim]; the step's keys and values are already in the cache.
        scale: Factor on the scores.
        window: A row sees this many tokens up to and including its own. None: all of them.
        softcap: Scores are squashed to ±softcap by tanh, as in Gemma 2. None: they are not.

    Returns:
        [T, heads, head_dim].
    """
    output = torch.empty_like(query)
    if batch.decodes:
        output[: batch.decodes] = _decode(query[: batch.decodes], cache, layer, batch, scale, window, softcap)
    for span in batch.spans[batch.decodes :]:
        rows = slice(span.start, span.start + span.count)
        output[rows] = _chunk(query[rows], cache, layer, span, scale, window, softcap)
    return output


def _decode(
    query: Tensor,
    cache: PagedCache,
    layer: int,
    batch: StepTensors,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """All decoding rows at once: two batched products, the query heads of a group folded into the rows."""
    keys, values = cache.read(layer, batch.decode_blocks)  # [S, kv_heads, C, head_dim]
    place = torch.arange(keys.shape[2], device=query.device)
    hidden = place >= batch.decode_contexts[:, None]  # [S, C]
    if window is not None:
        hidden |= place < batch.decode_contexts[:, None] - window
    grouped = query.unflatten(1, (keys.shape[1], -1))  # [S, kv_heads, group, head_dim]
    scores = torch.matmul(grouped, keys.transpose(2, 3)).float() * scale
    scores = squash(scores, softcap).masked_fill(hidden[:, None, None, :], -torch.inf)
    # Blocks past a sequence's end hold whatever was there before; a NaN times zero would still be NaN.
    values = values.masked_fill(hidden[:, None, :, None], 0)
    return torch.matmul(scores.softmax(-1).to(values.dtype), values).flatten(1, 2)


def _chunk(
    query: Tensor,
    cache: PagedCache,
    layer: int,
    span: Span,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """One prompt chunk against its sequence's state so far."""
    blocks = torch.tensor([span.blocks], device=query.device)
    keys, values = (state[0, :, : span.context] for state in cache.read(layer, blocks))
    place = torch.arange(span.context, device=query.device)
    row = place[span.context - span.count :, None]
    visible = place <= row  # [count, context]
    if window is not None:
        visible &= place > row - window
    grouped = query.transpose(0, 1).unflatten(0, (keys.shape[0], -1))  # [kv_heads, group, count, head_dim]
    if softcap is None:
        folded = grouped.flatten(1, 2)  # [kv_heads, group · count, head_dim]
        mask = visible.repeat(grouped.shape[1], 1)
        mixed = F.scaled_dot_product_attention(folded[None], keys[None], values[None], mask, scale=scale)[0]
        mixed = mixed.unflatten(1, (grouped.shape[1], span.count))
    else:
        scores = torch.matmul(grouped, keys[:, None].transpose(2, 3)).float() * scale
        scores = squash(scores, softcap).masked_fill(~visible, -torch.inf)
        mixed = torch.matmul(scores.softmax(-1).to(values.dtype), values[:, None])
    return mixed.flatten(0, 1).transpose(0, 1)


def squash(scores: Tensor, softcap: float | None) -> Tensor:
    """Bound scores by softcap · tanh(score / softcap), as in Gemma 2; None: leave them."""
    return scores if softcap is None else torch.tanh(scores / softcap) * softcap
