"""The gate of a feed-forward network."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from inferloom_worker.models.config import Activation

_BLOCK = 1024
"""Numbers of one program."""


@triton.jit
def _gate_kernel(gate_up, out, width, SILU: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = place < width
    gate = tl.load(gate_up + row * 2 * width + place, mask=inside, other=0.0)
    up = tl.load(gate_up + (row * 2 + 1) * width + place, mask=inside, other=0.0)
    x = gate.to(tl.float32)
    if SILU:
        active = x * tl.sigmoid(x)
    else:
        # tanh(y) is 2 · sigmoid(2y) - 1; this is GELU's usual approximation by it.
        active = x * tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))
    product = active.to(gate.dtype).to(tl.float32) * up.to(tl.float32)
    tl.store(out + row * width + place, product.to(gate.dtype), inside)


def gate(gate_up: Tensor, activation: Activation) -> Tensor:
    """See :meth:`~inferloom_worker.models.operations.Operations.gate`."""
    gate_up = gate_up.contiguous()
    rows, width = len(gate_up), gate_up.shape[-1] // 2
    out = torch.empty((rows, width), dtype=gate_up.dtype, device=gate_up.device)
    grid = (rows, triton.cdiv(width, _BLOCK))
    _gate_kernel[grid](gate_up, out, width, SILU=activation == "silu", BLOCK=_BLOCK)
    return out
