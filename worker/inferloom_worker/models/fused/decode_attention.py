"""Attention of decoding rows over blocks in place, a long context shared out among many programs.

As in Flash-Decoding (https://pytorch.org/blog/flash-decoding/): a program has the query heads of one
key-value head and a split of one sequence's context. Splits are of one length whatever the step, so that a
row's sums are added up alike in any company.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from inferloom_worker.models.fused.scores import scores_of, take_in, tile_of, tile_tokens
from inferloom_worker.models.operations import AttentionShape
from inferloom_worker.stepping.blocks import BLOCK_TOKENS

SPLIT = 256
"""Tokens of context of one program."""
_LEAST_ROWS = 16
"""Of a product on tensor cores."""


@triton.jit(do_not_specialize=["table_width", "window"])
def _split_kernel(
    query,
    keys,
    values,
    tables,
    contexts,
    mixed_out,
    largest_out,
    total_out,
    table_width,
    group,
    width,
    window,
    scale,
    softcap,
    CAPPED: tl.constexpr,
    SPLIT: tl.constexpr,
    TILE: tl.constexpr,
    PAGE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    sequence, head, split = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    kv_heads, splits = tl.num_programs(1), tl.num_programs(2)
    row, dimension = tl.arange(0, ROWS), tl.arange(0, BLOCK)
    inside = (row < group)[:, None] & (dimension < width)[None, :]
    own = (sequence * kv_heads + head) * group + row
    q = tl.load(query + own[:, None] * width + dimension[None, :], mask=inside, other=0.0)
    context = tl.load(contexts + sequence).to(tl.int32)
    first = tl.maximum(context - window, 0)
    start = tl.maximum(split * SPLIT, first // TILE * TILE)
    stop = tl.minimum(split * SPLIT + SPLIT, context)
    largest = tl.full((ROWS,), -float("inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    mixed = tl.zeros((ROWS, BLOCK), tl.float32)
    table = tables + sequence * table_width
    for tile in range(start, stop, TILE):
        place = tile + tl.arange(0, TILE)
        seen = (place >= first) & (place < context)
        k = tile_of(keys, table, head, kv_heads, width, place, seen, PAGE, BLOCK)
        v = tile_of(values, table, head, kv_heads, width, place, seen, PAGE, BLOCK)
        scores = scores_of(q, k, scale, softcap, seen[None, :], CAPPED)
        largest, total, mixed = take_in(scores, v, largest, total, mixed)
    at = own * splits + split
    wanted = split * SPLIT < context  # those past it are not read
    tl.store(mixed_out + at[:, None] * width + dimension[None, :], mixed, inside & wanted)
    tl.store(largest_out + at, largest, (row < group) & wanted)
    tl.store(total_out + at, total, (row < group) & wanted)


@triton.jit(do_not_specialize=["splits"])
def _join_kernel(
    mixed_in,
    largest_in,
    total_in,
    contexts,
    out,
    splits,
    width,
    SPLIT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Join the splits of one head of one sequence."""
    sequence, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    own = sequence * tl.num_programs(1) + head
    dimension = tl.arange(0, BLOCK)
    inside = dimension < width
    largest, total = -float("inf"), 0.0
    mixed = tl.zeros((BLOCK,), tl.float32)
    used = tl.cdiv(tl.load(contexts + sequence).to(tl.int32), SPLIT)
    for split in range(used):
        at = own * splits + split
        its = tl.load(largest_in + at)
        new = tl.maximum(largest, its)
        base = tl.where(new == -float("inf"), 0.0, new)
        kept, added = tl.exp(largest - base), tl.exp(its - base)
        total = total * kept + tl.load(total_in + at) * added
        mixed = mixed * kept + tl.load(mixed_in + at * width + dimension, mask=inside, other=0.0) * added
        largest = new
    tl.store(out + own * width + dimension, (mixed / total).to(out.dtype.element_ty), inside)


def decode_attention(
    query: Tensor, keys: Tensor, values: Tensor, tables: Tensor, contexts: Tensor, shape: AttentionShape
) -> Tensor:
    """Attend from one row of each of S sequences.

    Args:
        query: [S, heads, head_dim].
        keys: A layer's blocks [blocks, kv_heads, BLOCK_TOKENS, head_dim].
        values: The same.
        tables: Each sequence's blocks, int64 [S, most].
        contexts: How many tokens each sees, its own included, at least 1; int64 [S].
        shape: The layer's attention.

    Returns:
        [S, heads, head_dim].
    """
    query, out = query.contiguous(), torch.empty_like(query, memory_format=torch.contiguous_format)
    sequences, heads, width = query.shape
    kv_heads, most = keys.shape[1], tables.shape[1] * BLOCK_TOKENS
    splits = triton.cdiv(most, SPLIT)
    block = max(triton.next_power_of_2(width), 16)
    partial = (sequences, heads, splits)
    mixed = torch.empty((*partial, width), dtype=torch.float32, device=query.device)
    largest, total = torch.empty((2, *partial), dtype=torch.float32, device=query.device)
    _split_kernel[(sequences, kv_heads, splits)](
        query,
        keys,
        values,
        tables,
        contexts,
        mixed,
        largest,
        total,
        tables.stride(0),
        heads // kv_heads,
        width,
        shape.window or most,
        shape.scale,
        shape.softcap or 0.0,
        CAPPED=shape.softcap is not None,
        SPLIT=SPLIT,
        TILE=tile_tokens(block, query.dtype),
        PAGE=BLOCK_TOKENS,
        ROWS=max(triton.next_power_of_2(heads // kv_heads), _LEAST_ROWS),
        BLOCK=block,
        num_warps=4,
    )
    _join_kernel[(sequences, heads)](
        mixed, largest, total, contexts, out, splits, width, SPLIT=SPLIT, BLOCK=block, num_warps=2
    )
    return out
