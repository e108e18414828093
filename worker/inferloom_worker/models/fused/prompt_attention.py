"""Causal attention of chunks of prompts over blocks in place, as in FlashAttention-2 (https://arxiv.org/abs/2307.08691)."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from inferloom_worker.models.fused.scores import scores_of, take_in, tile_of, tile_tokens
from inferloom_worker.models.operations import AttentionShape
from inferloom_worker.stepping.blocks import BLOCK_TOKENS
from inferloom_worker.stepping.prompt_rows import PROMPT_TILE, PromptRows


@triton.jit(do_not_specialize=["table_width", "window"])
def _prompt_kernel(
    query,
    keys,
    values,
    tables,
    spans,
    tiles,
    out,
    table_width,
    group,
    kv_heads,
    width,
    window,
    scale,
    softcap,
    CAPPED: tl.constexpr,
    TILE: tl.constexpr,
    PAGE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A program has one head of a tile of one chunk's rows."""
    # The last tiles see most, and begin first.
    tile, head, heads = tl.num_programs(1) - 1 - tl.program_id(1), tl.program_id(0), tl.num_programs(0)
    span = tl.load(tiles + 2 * tile)
    offset = tl.load(tiles + 2 * tile + 1).to(tl.int32)
    start = tl.load(spans + 3 * span)
    count = tl.load(spans + 3 * span + 1).to(tl.int32)
    context = tl.load(spans + 3 * span + 2).to(tl.int32)
    row, dimension = offset + tl.arange(0, ROWS), tl.arange(0, BLOCK)
    inside = (row < count)[:, None] & (dimension < width)[None, :]
    at = ((start + row) * heads + head)[:, None] * width + dimension[None, :]
    q = tl.load(query + at, mask=inside, other=0.0)
    own = context - count + row
    first = tl.maximum(context - count + offset - window + 1, 0)
    stop = tl.minimum(context - count + offset + ROWS, context)
    largest = tl.full((ROWS,), -float("inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    mixed = tl.zeros((ROWS, BLOCK), tl.float32)
    table = tables + span * table_width
    for begin in range(first // TILE * TILE, stop, TILE):
        place = begin + tl.arange(0, TILE)
        seen = place < context
        k = tile_of(keys, table, head // group, kv_heads, width, place, seen, PAGE, BLOCK)
        v = tile_of(values, table, head // group, kv_heads, width, place, seen, PAGE, BLOCK)
        visible = (place[None, :] <= own[:, None]) & (place[None, :] > own[:, None] - window)
        scores = scores_of(q, k, scale, softcap, visible & seen[None, :], CAPPED)
        largest, total, mixed = take_in(scores, v, largest, total, mixed)
    total = tl.where(total == 0.0, 1.0, total)  # of a row past the chunk's end, which is not stored
    tl.store(out + at, (mixed / total[:, None]).to(out.dtype.element_ty), inside)


def prompt_attention(
    query: Tensor, keys: Tensor, values: Tensor, prompts: PromptRows, shape: AttentionShape
) -> Tensor:
    """Attend from the rows of chunks of prompts.

    Args:
        query: [T, heads, head_dim], of a whole step.
        keys: A layer's blocks [blocks, kv_heads, BLOCK_TOKENS, head_dim].
        values: The same.
        prompts: Which rows are prompts', and where their state is.
        shape: The layer's attention.

    Returns:
        [T, heads, head_dim]; rows of no prompt hold nothing of use.
    """
    query, out = query.contiguous(), torch.empty_like(query, memory_format=torch.contiguous_format)
    _, heads, width = query.shape
    kv_heads, block = keys.shape[1], max(triton.next_power_of_2(width), 16)
    _prompt_kernel[(heads, len(prompts.tiles))](
        query,
        keys,
        values,
        prompts.tables,
        prompts.spans,
        prompts.tiles,
        out,
        prompts.tables.stride(0),
        heads // kv_heads,
        kv_heads,
        width,
        shape.window or prompts.tables.shape[1] * BLOCK_TOKENS,
        shape.scale,
        shape.softcap or 0.0,
        CAPPED=shape.softcap is not None,
        TILE=tile_tokens(block, query.dtype),
        PAGE=BLOCK_TOKENS,
        ROWS=PROMPT_TILE,
        BLOCK=block,
        num_warps=4,
    )
    return out
