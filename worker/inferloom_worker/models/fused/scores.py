"""A tile of attention scores, and the sums over tiles (https://arxiv.org/abs/2205.14135)."""

import torch
import triton
import triton.language as tl

_TILE_BYTES = 1 << 14
"""Of the keys of one tile; some tiles, and their values, are in a multiprocessor's own memory at a time."""


def tile_tokens(block: int, dtype: torch.dtype) -> int:
    """Tokens of a tile whose rows have ``block`` numbers; a product on tensor cores needs 16."""
    return max(16, min(64, _TILE_BYTES // (block * dtype.itemsize)))


@triton.jit
def tile_of(pages, table, head, kv_heads, width, place, seen, PAGE: tl.constexpr, BLOCK: tl.constexpr):
    """The keys or values of one head at ``place`` [N], by a sequence's block table: [N, BLOCK]; zeros where
    not ``seen`` [N], since a block past a sequence's end holds whatever was there before."""
    dimension = tl.arange(0, BLOCK)
    block = tl.load(table + place // PAGE, mask=seen, other=0).to(tl.int64)
    row = ((block * kv_heads + head) * PAGE + place % PAGE) * width
    inside = seen[:, None] & (dimension < width)[None, :]
    return tl.load(pages + row[:, None] + dimension[None, :], mask=inside, other=0.0)


@triton.jit
def scores_of(query, keys, scale, softcap, visible, CAPPED: tl.constexpr):
    """float32 [M, N] of queries [M, BLOCK] against keys [N, BLOCK]; minus infinity where not ``visible``."""
    scores = tl.dot(query, tl.trans(keys), input_precision="ieee") * scale
    if CAPPED:
        scores = softcap * (2.0 * tl.sigmoid(2.0 * scores / softcap) - 1.0)
    return tl.where(visible, scores, -float("inf"))


@triton.jit
def take_in(scores, values, largest, total, mixed):
    """Add a tile to the running softmax: the largest score [M], the sum of weights [M], and values [M, BLOCK]
    mixed by these."""
    new = tl.maximum(largest, tl.max(scores, 1))
    # A row that has seen nothing yet has no largest score, and nothing to scale.
    base = tl.where(new == -float("inf"), 0.0, new)
    weights = tl.exp(scores - base[:, None])
    kept = tl.exp(largest - base)
    total = total * kept + tl.sum(weights, 1)
    mixed = mixed * kept[:, None] + tl.dot(weights.to(values.dtype), values, input_precision="ieee")
    return new, total, mixed
