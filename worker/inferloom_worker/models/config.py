"""The shape of a decoder that the fast path computes."""

import math
from dataclasses import dataclass
from typing import Literal

from inferloom_worker.models.rope import Rope

MOST = 1 << 24
"""Larger sizes are those of a damaged file: every model is far below."""


MOST_LAYERS = 1 << 12
"""The same of layers, of which lists are made before anything else is known of them."""


class ConfigError(ValueError):
    """A config says what no model can be; the message says what."""


Activation = Literal["silu", "gelu_tanh"]
"""What the gate of a feed-forward network goes through."""


@dataclass(frozen=True, slots=True)
class LayerConfig:
    """What can differ from layer to layer."""

    window: int | None
    """Tokens that a row sees, up to and including its own. None: all of them."""
    rope: int
    """Place of its rotary embedding in :attr:`DecoderConfig.ropes`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """Everything that the fast path needs to know besides the weights."""

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab_size: int
    context_length: int
    layers: tuple[LayerConfig, ...]
    ropes: tuple[Rope, ...]
    activation: Activation
    norm_eps: float
    norm_offset: float
    """Added to the weights of norms, which are then applied in float32. 0: they are applied as they are."""
    post_norms: bool
    """Whether attention and feed-forward outputs are normed before they are added."""
    embedding_scale: float
    attention_scale: float
    """Factor on the attention scores."""
    attention_softcap: float | None
    """Bound of the attention scores: softcap · tanh(score / softcap). None: they have none."""
    final_softcap: float | None
    """The same for the logits."""
    qkv_bias: bool
    """Whether the projections to queries, keys and values have biases."""
    output_bias: bool
    """The same for attention's output."""
    mlp_bias: bool
    """The same for all of the feed-forward network."""
    qk_norms: bool
    """Whether each head's queries and keys are normed."""
    tied: bool
    """Whether the embedding is the output matrix as well."""

    def __post_init__(self) -> None:
        """Refuse numbers that no model has, which a damaged or made-up file may."""
        windows = [("window", layer.window) for layer in self.layers if layer.window is not None]
        if not 1 <= len(self.layers) <= MOST_LAYERS:
            raise ConfigError(f"the model has {len(self.layers)} layers")
        for name, size in (
            ("hidden size", self.hidden),
            ("number of heads", self.heads),
            ("number of key-value heads", self.kv_heads),
            ("head width", self.head_dim),
            ("feed-forward size", self.intermediate),
            ("vocabulary", self.vocab_size),
            ("context length", self.context_length),
            *windows,
        ):
            if not isinstance(size, int) or not 1 <= size <= MOST:
                raise ConfigError(f"the model has a {name} of {size}")
        if self.heads % self.kv_heads:
            raise ConfigError(f"{self.heads} heads are no multiple of {self.kv_heads} key-value heads")
        if self.head_dim % 2 or any(rope.rotated > self.head_dim for rope in self.ropes):
            raise ConfigError(f"heads of {self.head_dim} cannot be rotated")
        caps = [cap for cap in (self.attention_softcap, self.final_softcap) if cap is not None]
        highest = [float(rope.frequencies.abs().max()) for rope in self.ropes if rope.rotated]
        for name, number in (
            ("norm epsilon", self.norm_eps),
            ("attention scale", self.attention_scale),
            *(("bound of scores", cap) for cap in caps),
            *(("rotary scale", rope.scale) for rope in self.ropes),
            *(("rotary frequency", frequency) for frequency in highest),
        ):
            if not (math.isfinite(number) and number >= 0):
                raise ConfigError(f"the model has a {name} of {number}")
