"""RMS norm (https://arxiv.org/abs/1910.07467), with the residual sum before it."""

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _normed(values, weight, inside, width, eps):
    """Rounded where transformers rounds: to the weight's type before the product, and after it."""
    wide = values.to(tl.float32)
    wide = wide * tl.rsqrt(tl.sum(wide * wide, 0) / width + eps)
    factor = tl.load(weight + tl.arange(0, inside.shape[0]), mask=inside, other=0.0)
    product = factor.to(tl.float32) * wide.to(factor.dtype).to(tl.float32)
    return product.to(factor.dtype).to(values.dtype)


@triton.jit
def _norm_kernel(x, weight, out, width, eps, BLOCK: tl.constexpr):
    place = tl.arange(0, BLOCK)
    inside = place < width
    at = tl.program_id(0).to(tl.int64) * width + place
    tl.store(out + at, _normed(tl.load(x + at, mask=inside, other=0.0), weight, inside, width, eps), inside)


@triton.jit
def _add_and_norm_kernel(
    x,
    change,
    change_norm,
    weight,
    total,
    out,
    width,
    eps,
    NORMED_CHANGE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    place = tl.arange(0, BLOCK)
    inside = place < width
    at = tl.program_id(0).to(tl.int64) * width + place
    before = tl.load(x + at, mask=inside, other=0.0)
    added = tl.load(change + at, mask=inside, other=0.0)
    if NORMED_CHANGE:
        added = _normed(added, change_norm, inside, width, eps)
    after = (before.to(tl.float32) + added.to(tl.float32)).to(before.dtype)
    tl.store(total + at, after, inside)
    tl.store(out + at, _normed(after, weight, inside, width, eps), inside)


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """See :meth:`~inferloom_worker.models.operations.Operations.norm`."""
    x, out = x.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
    width = x.shape[-1]
    if x.numel():
        _norm_kernel[(x.numel() // width,)](x, weight, out, width, eps, **_size(width))
    return out


def add_and_norm(
    x: Tensor, change: Tensor, change_norm: Tensor | None, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """See :meth:`~inferloom_worker.models.operations.Operations.add_and_norm`."""
    x, change = x.contiguous(), change.contiguous()
    total, out = torch.empty_like(x), torch.empty_like(x)
    normed = weight if change_norm is None else change_norm
    if not len(x):  # a step that reads parts of prompts wants no logits
        return total, out
    _add_and_norm_kernel[(len(x),)](
        x,
        change,
        normed,
        weight,
        total,
        out,
        x.shape[-1],
        eps,
        NORMED_CHANGE=change_norm is not None,
        **_size(x.shape[-1]),
    )
    return total, out


def _size(width: int) -> dict[str, int]:
    """A program has a whole row; sixteen of its numbers are one thread's."""
    block = triton.next_power_of_2(width)
    return {"BLOCK": block, "num_warps": min(max(block // 512, 1), 16)}
