"""From a projection's rows to rotated queries, and keys and values in the cache."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from inferloom_worker.models.cache import PagedCache
from inferloom_worker.stepping.blocks import BLOCK_TOKENS


@triton.jit
def _rotate_kernel(
    qkv,
    q_norm,
    k_norm,
    cosines,
    sines,
    slots,
    queries,
    keys,
    values,
    heads,
    kv_heads,
    width,
    rotated,
    eps,
    NORMED: tl.constexpr,
    PAGE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A program has one head of one token; heads are queries', then keys', then values'."""
    token, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    place = tl.arange(0, BLOCK)
    inside = place < width
    source = qkv + (token * (heads + 2 * kv_heads) + head) * width
    x = tl.load(source + place, mask=inside, other=0.0)
    if head < heads + kv_heads:
        half = rotated // 2
        turns = place < rotated
        # The dimension that each is turned against: of the other half.
        other = tl.where(place < half, place + half, place - half)
        other = tl.where(turns, other, place)
        against = tl.load(source + other, mask=inside, other=0.0)
        wide, opposite = x.to(tl.float32), against.to(tl.float32)
        if NORMED:
            root = tl.rsqrt(tl.sum(wide * wide, 0) / width + eps)
            norm = q_norm
            if head >= heads:
                norm = k_norm
            factor = tl.load(norm + place, mask=inside, other=0.0)
            its = tl.load(norm + other, mask=inside, other=0.0)
            wide = factor.to(tl.float32) * (wide * root).to(factor.dtype).to(tl.float32)
            wide = wide.to(factor.dtype).to(x.dtype).to(tl.float32)
            opposite = its.to(tl.float32) * (opposite * root).to(its.dtype).to(tl.float32)
            opposite = opposite.to(its.dtype).to(x.dtype).to(tl.float32)
        cos = tl.load(cosines + token * rotated + place, mask=turns, other=1.0)
        sin = tl.load(sines + token * rotated + place, mask=turns, other=0.0)
        x = (wide * cos + tl.where(place < half, -opposite, opposite) * sin).to(x.dtype)
    if head < heads:
        tl.store(queries + (token * heads + head) * width + place, x, inside)
    else:
        slot = tl.load(slots + token)
        own = (head - heads) % kv_heads
        target = ((slot // PAGE * kv_heads + own) * PAGE + slot % PAGE) * width
        if head < heads + kv_heads:
            tl.store(keys + target + place, x, inside)
        else:
            tl.store(values + target + place, x, inside)


def rotate_and_store(
    qkv: Tensor,
    norms: tuple[Tensor | None, Tensor | None],
    eps: float,
    rotation: tuple[Tensor, Tensor],
    cache: PagedCache,
    layer: int,
    slots: Tensor,
) -> Tensor:
    """See :meth:`~inferloom_worker.models.operations.Operations.rotate_and_store`."""
    qkv, keys = qkv.contiguous(), cache.keys[layer]
    tokens, kv_heads, width = len(qkv), keys.shape[1], keys.shape[3]
    heads = qkv.shape[-1] // width - 2 * kv_heads
    cosines, sines = rotation
    q_norm, k_norm = (cosines if norm is None else norm for norm in norms)
    queries = torch.empty((tokens, heads, width), dtype=qkv.dtype, device=qkv.device)
    _rotate_kernel[(tokens, heads + 2 * kv_heads)](
        qkv,
        q_norm,
        k_norm,
        cosines,
        sines,
        slots,
        queries,
        keys,
        cache.values[layer],
        heads,
        kv_heads,
        width,
        cosines.shape[-1],
        eps,
        NORMED=norms[0] is not None,
        PAGE=BLOCK_TOKENS,
        BLOCK=triton.next_power_of_2(width),
        num_warps=1,
    )
    return queries
