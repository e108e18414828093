"""The shape of a decoder that the fast path computes."""

from dataclasses import dataclass
from typing import Literal

from inferloom_worker.models.rope import Rope

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
    tied: bool
    """Whether the embedding is the output matrix as well."""
