"""The fast path of Llama-shaped decoders: Llama, SmolLM, Mistral, Qwen2 and Qwen3.

Same arithmetic as transformers' modelling code, with fused projections and packed steps. It is tested token
for token against it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from inferloom_worker.engine.batch import StepBatch
from inferloom_worker.engine.sampler import TorchChooser
from inferloom_worker.models.attention import paged_attention
from inferloom_worker.models.cache import LayerShape, PagedCache, bytes_per_token
from inferloom_worker.models.config import DecoderConfig
from inferloom_worker.weights.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer's weights; projections are [out, in]."""

    input_norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    q_norm: Tensor | None
    k_norm: Tensor | None
    output: Tensor
    output_bias: Tensor | None
    mlp_norm: Tensor
    gate_up: Tensor
    down: Tensor


class LlamaModel:
    """A :class:`~inferloom_worker.models.protocol.CausalModel` in eager torch."""

    def __init__(
        self, config: DecoderConfig, checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.config = config
        self.dtype = dtype
        self.device = device
        self.vocab_size = config.vocab_size
        self.context_length = config.context_length
        self._reader = _Reader(checkpoint, dtype, device)
        read = self._reader
        self.embedding = read.tensor("model.embed_tokens.weight")
        self.layers = [_read_layer(read, f"model.layers.{i}") for i in range(config.layers)]
        self.norm = read.tensor("model.norm.weight")
        head = read.optional("lm_head.weight")
        self.head = self.embedding if head is None else head  # tied
        self._frequencies = config.inverse_frequencies.to(device)
        self._shapes: list[LayerShape] = [(config.kv_heads, config.head_dim)] * config.layers
        self._cache: PagedCache | None = None

    chooser = TorchChooser()

    @property
    def weights_bytes(self) -> int:
        """See the protocol."""
        return self._reader.bytes_read

    @property
    def kv_bytes_per_token(self) -> int:
        """See the protocol."""
        return bytes_per_token(self._shapes, self.dtype)

    def allocate(self, blocks: int) -> None:
        """See the protocol."""
        self._cache = PagedCache(self._shapes, blocks, self.dtype, self.device)

    @torch.inference_mode()
    def forward(self, batch: StepBatch) -> Tensor:
        """See the protocol."""
        eps = self.config.norm_eps
        x = F.embedding(batch.token_tensor, self.embedding)
        rotation = self._rotation(batch.position_tensor)
        for index, layer in enumerate(self.layers):
            x = x + self._attend(index, layer, _norm(x, layer.input_norm, eps), rotation, batch)
            gate, up = F.linear(_norm(x, layer.mlp_norm, eps), layer.gate_up).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, layer.down)
        return F.linear(_norm(x[batch.sample_tensor], self.norm, eps), self.head).float()

    def _attend(
        self, index: int, layer: Layer, x: Tensor, rotation: tuple[Tensor, Tensor], batch: StepBatch
    ) -> Tensor:
        c, cache = self.config, self._cache
        assert cache is not None
        split = (c.heads * c.head_dim, c.kv_heads * c.head_dim, c.kv_heads * c.head_dim)
        q, k, v = (
            t.unflatten(-1, (-1, c.head_dim)) for t in F.linear(x, layer.qkv, layer.qkv_bias).split(split, -1)
        )
        if layer.q_norm is not None and layer.k_norm is not None:
            q, k = _norm(q, layer.q_norm, c.norm_eps), _norm(k, layer.k_norm, c.norm_eps)
        cache.write(index, batch.slots, _rotate(k, rotation), v)
        mixed = paged_attention(
            _rotate(q, rotation), cache, index, batch, scale=c.head_dim**-0.5, window=c.window
        )
        return F.linear(mixed.flatten(1), layer.output, layer.output_bias)

    def _rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines [T, 1, head_dim]."""
        angles = positions[:, None].float() * self._frequencies
        angles = torch.cat((angles, angles), -1)[:, None, :]
        scale = self.config.rope_scale
        return (angles.cos() * scale).to(self.dtype), (angles.sin() * scale).to(self.dtype)


class _Reader:
    """Reads tensors in the type and place they are computed in, and counts their bytes."""

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device) -> None:
        self.checkpoint, self.dtype, self.device = checkpoint, dtype, device
        self.bytes_read = 0

    def optional(self, name: str) -> Tensor | None:
        found = self.checkpoint.find(name)
        if found is None:
            return None
        placed = found.to(self.device, self.dtype).contiguous()
        self.bytes_read += placed.numel() * placed.element_size()
        return placed

    def tensor(self, name: str) -> Tensor:
        found = self.optional(name)
        if found is None:
            raise ValueError(f"the weights have no tensor {name}")
        return found


def _read_layer(read: _Reader, prefix: str) -> Layer:
    attention = f"{prefix}.self_attn"
    biases = [read.optional(f"{attention}.{p}_proj.bias") for p in "qkv"]
    return Layer(
        input_norm=read.tensor(f"{prefix}.input_layernorm.weight"),
        qkv=torch.cat([read.tensor(f"{attention}.{p}_proj.weight") for p in "qkv"]),
        qkv_bias=torch.cat([b for b in biases if b is not None]) if biases[0] is not None else None,
        q_norm=read.optional(f"{attention}.q_norm.weight"),
        k_norm=read.optional(f"{attention}.k_norm.weight"),
        output=read.tensor(f"{attention}.o_proj.weight"),
        output_bias=read.optional(f"{attention}.o_proj.bias"),
        mlp_norm=read.tensor(f"{prefix}.post_attention_layernorm.weight"),
        gate_up=torch.cat([read.tensor(f"{prefix}.mlp.{p}_proj.weight") for p in ("gate", "up")]),
        down=read.tensor(f"{prefix}.mlp.down_proj.weight"),
    )


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMS norm, in float32 as the originals compute it."""
    wide = x.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return weight * wide.to(x.dtype)


def _rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary embedding of [T, heads, head_dim], halves against halves."""
    cos, sin = rotation
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin
