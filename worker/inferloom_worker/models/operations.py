"""What a Llama-shaped decoder computes between its matrix products, and what computes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from inferloom_worker.models.attention import paged_attention
from inferloom_worker.models.cache import LayerShape, PagedCache
from inferloom_worker.models.config import Activation
from inferloom_worker.stepping.batch import StepTensors

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines of a step's positions, float32 [T, rotated], the two halves alike."""


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """What a layer's attention has besides its inputs."""

    scale: float
    """Factor on the scores."""
    window: int | None = None
    """A row sees this many tokens up to and including its own. None: all of them."""
    softcap: float | None = None
    """Scores are squashed to ±softcap by tanh, as in Gemma 2. None: they are not."""


class Operations(Protocol):
    """The parts of a layer that are no matrix products. All tensors are on one device."""

    any_prompts: bool
    """Whether a recorded step can be of other prompts than it was recorded with."""

    def norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """RMS norm (https://arxiv.org/abs/1910.07467) of rows [..., width], by weights [width]."""
        ...

    def add_and_norm(
        self, x: Tensor, change: Tensor, change_norm: Tensor | None, weight: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """Add to rows [T, width] a change, normed first where there is ``change_norm``; return the sum and
        its norm."""
        ...

    def gate(self, gate_up: Tensor, activation: Activation) -> Tensor:
        """The activated first halves of rows [T, 2 · width] times the second ones [T, width]."""
        ...

    def rotate_and_store(
        self,
        qkv: Tensor,
        norms: tuple[Tensor | None, Tensor | None],
        eps: float,
        rotation: Rotation,
        cache: PagedCache,
        layer: int,
        slots: Tensor,
    ) -> Tensor:
        """Norm and rotate queries and keys, and put keys and values into the cache.

        Args:
            qkv: [T, (heads + 2 · kv_heads) · head_dim]: queries, keys, values.
            norms: Weights [head_dim] of the norms of each head's queries and keys, if there are any.
            eps: Of these norms.
            rotation: Turns the first dimensions of a head.
            cache: Where keys and values go.
            layer: Whose they are.
            slots: Where each token's go, int64 [T].

        Returns:
            Queries [T, heads, head_dim].
        """
        ...

    def attend(
        self, query: Tensor, cache: PagedCache, layer: int, batch: StepTensors, shape: AttentionShape
    ) -> Tensor:
        """Attend from every row [T, heads, head_dim] of the step to its sequence's state, its own token
        included, which is in the cache. Returns [T, heads, head_dim]."""
        ...


def operations_for(
    device: torch.device, dtype: torch.dtype, heads: int, layers: Sequence[LayerShape]
) -> Operations:
    """The operations for a model of so many query heads, whose layers have these key-value heads and widths:
    fused kernels on an NVIDIA GPU that runs them, with Triton, which torch brings there."""
    if device.type == "cuda" and find_spec("triton") is not None:
        # Imported here: Triton is only where torch was built for CUDA.
        from inferloom_worker.models.fused.operations import FusedOperations
        from inferloom_worker.models.fused.trial import runs

        if runs(heads, layers, dtype, device):
            return FusedOperations()
    return TorchOperations()


class TorchOperations:
    """The :class:`Operations` in eager torch, on any device, as transformers' modelling code has them."""

    any_prompts = False  # its shapes are those of each chunk

    def norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
        return (weight * wide.to(weight.dtype)).to(x.dtype)

    def add_and_norm(
        self, x: Tensor, change: Tensor, change_norm: Tensor | None, weight: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        x = x + (change if change_norm is None else self.norm(change, change_norm, eps))
        return x, self.norm(x, weight, eps)

    def gate(self, gate_up: Tensor, activation: Activation) -> Tensor:
        gate, up = gate_up.chunk(2, -1)
        return _ACTIVATIONS[activation](gate) * up

    def rotate_and_store(
        self,
        qkv: Tensor,
        norms: tuple[Tensor | None, Tensor | None],
        eps: float,
        rotation: Rotation,
        cache: PagedCache,
        layer: int,
        slots: Tensor,
    ) -> Tensor:
        _, kv_heads, _, width = cache.keys[layer].shape
        q, k, v = qkv.unflatten(-1, (-1, width)).tensor_split((-2 * kv_heads, -kv_heads), 1)
        q, k = (t if n is None else self.norm(t, n, eps) for t, n in zip((q, k), norms, strict=True))
        turn = tuple(part[:, None].to(qkv.dtype) for part in rotation)
        cache.write(layer, slots, _rotate(k, *turn), v)
        return _rotate(q, *turn)

    def attend(
        self, query: Tensor, cache: PagedCache, layer: int, batch: StepTensors, shape: AttentionShape
    ) -> Tensor:
        return paged_attention(
            query, cache, layer, batch, scale=shape.scale, window=shape.window, softcap=shape.softcap
        )


_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
}


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of [T, heads, head_dim], halves against halves, of the dimensions that are rotated."""
    turned, kept = x.tensor_split([cos.shape[-1]], -1)
    first, second = turned.chunk(2, -1)
    turned = turned * cos + torch.cat((-second, first), -1) * sin
    return torch.cat((turned, kept), -1) if kept.shape[-1] else turned
