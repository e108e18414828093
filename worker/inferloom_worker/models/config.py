"""The shape of a Llama-like decoder, read from a transformers config or from GGUF metadata."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from inferloom_worker.weights.gguf import GgufFile

FAST_MODEL_TYPES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Transformers model types that the fast path computes; every other takes the general path."""

GGUF_MODEL_TYPES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""GGUF architectures that the fast path computes, and what transformers calls them. GGUF files of Mistral
models say ``llama``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """Everything that the fast path needs to know besides the weights."""

    model_type: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab_size: int
    context_length: int
    norm_eps: float
    window: int | None
    """Sliding window of every layer, in tokens that a row sees. None: all of them."""
    inverse_frequencies: Tensor
    """Rotary frequencies, float32 [head_dim / 2]."""
    rope_scale: float = 1.0
    """Factor on the rotary cosines and sines (YaRN)."""


def from_transformers(config: PreTrainedConfig) -> DecoderConfig | None:
    """Read a transformers config; None if the fast path does not compute such a model."""
    if (
        config.model_type not in FAST_MODEL_TYPES
        or config.hidden_act != "silu"
        or getattr(config, "mlp_bias", False)
    ):
        return None
    windows = {_window(config, layer) for layer in range(config.num_hidden_layers)}
    rope: dict[str, Any] = config.rope_parameters
    if len(windows) > 1 or rope["rope_type"] in ("dynamic", "longrope"):
        return None  # these change with the layer or with the length so far
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if rope["rope_type"] == "default":
        frequencies, scale = _frequencies(rope["rope_theta"], head_dim), 1.0
    else:
        frequencies, scale = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, torch.device("cpu"))
    return DecoderConfig(
        model_type=config.model_type,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=head_dim,
        intermediate=config.intermediate_size,
        vocab_size=config.vocab_size,
        context_length=config.max_position_embeddings,
        norm_eps=config.rms_norm_eps,
        window=windows.pop(),
        inverse_frequencies=frequencies,
        rope_scale=scale,
    )


def from_gguf(file: GgufFile) -> DecoderConfig | None:
    """Read GGUF metadata; None if the fast path does not compute such a model."""
    scaling = file.value("rope.scaling.type", "none")
    if (
        file.architecture not in GGUF_MODEL_TYPES
        or scaling not in ("none", "linear")
        or file.value("expert_count")
    ):
        return None
    hidden, heads = file.value("embedding_length"), file.value("attention.head_count")
    head_dim = file.value("attention.key_length", hidden // heads)
    if file.value("rope.dimension_count", head_dim) != head_dim:
        return None
    frequencies = _frequencies(file.value("rope.freq_base", 10_000.0), head_dim)
    if scaling == "linear":
        frequencies = frequencies / file.value("rope.scaling.factor")
    if factors := file.tensors.get("rope_freqs.weight"):  # Llama 3's scaling, already worked out
        frequencies = frequencies / torch.from_numpy(factors.dequantized())
    return DecoderConfig(
        model_type=GGUF_MODEL_TYPES[file.architecture],
        layers=file.value("block_count"),
        hidden=hidden,
        heads=heads,
        kv_heads=file.value("attention.head_count_kv", heads),
        head_dim=head_dim,
        intermediate=file.value("feed_forward_length"),
        vocab_size=file.tensors["token_embd.weight"].shape[0],
        context_length=file.value("context_length"),
        norm_eps=file.value("attention.layer_norm_rms_epsilon"),
        window=file.value("attention.sliding_window"),
        inverse_frequencies=frequencies,
    )


def _frequencies(theta: float, head_dim: int) -> Tensor:
    return 1.0 / (theta ** (torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim))


def _window(config: PreTrainedConfig, layer: int) -> int | None:
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and kinds[layer] != "sliding_attention":
        return None
    if not getattr(config, "use_sliding_window", True):
        return None
    window: int | None = getattr(config, "sliding_window", None)
    return window
