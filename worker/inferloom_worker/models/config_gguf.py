"""Reading a decoder's shape from GGUF metadata.

The metadata is put in the words of a transformers config, so that one place knows what they mean. Keys:
``Keys`` in the ``gguf`` package. What llama.cpp assumes where a file is silent is assumed here too.
"""

import math
from dataclasses import replace
from typing import Any

from transformers.configuration_utils import PreTrainedConfig

from inferloom_worker.models.config import MOST, MOST_LAYERS, DecoderConfig
from inferloom_worker.models.config_transformers import from_transformers
from inferloom_worker.models.protocol import UnsupportedModelError
from inferloom_worker.weights.gguf import GgufFile, GgufTensor

MODEL_TYPES = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "phi3": "phi3",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
}
"""GGUF architectures that the fast path computes, and what transformers calls them."""

_FIELDS = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "max_position_embeddings": "context_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
}
_OPTIONAL_FIELDS = {
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
_NUMBERS = frozenset({"rms_norm_eps", "attn_logit_softcapping", "final_logit_softcapping"})
"""Fields that need not be whole."""
_MAY_BE_ZERO = _NUMBERS
_GEMMA = {"hidden_act": "gelu_pytorch_tanh"}
_ASSUMED: dict[str, dict[str, Any]] = {
    "gemma": _GEMMA,
    "gemma2": _GEMMA
    | {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "sliding_window": 4096},
    "gemma3": _GEMMA | {"sliding_window": 4096},
}
"""What an architecture has where its files are silent."""
_WINDOW_PERIODS = {"gemma2": 2, "gemma3": 6}
"""One layer in so many, the last, sees everything."""
_LARGEST = {"gemma2": 46, "gemma3": 62}
"""Layers of the 27B models, whose scores are scaled by hidden / heads and not by the width of a head."""
_UNDERSTOOD = frozenset(
    {
        *(
            "attention.head_count",
            "attention.head_count_kv",
            "attention.key_length",
            "attention.value_length",
        ),
        *("attention.layer_norm_rms_epsilon", "attention.sliding_window", "attention.sliding_window_pattern"),
        *("rope.dimension_count", "rope.freq_base", "rope.freq_base_swa", "rope.scale_linear"),
        *("rope.scaling.type", "rope.scaling.factor", "rope.scaling.attn_factor"),
        *("rope.scaling.original_context_length", "rope.scaling.yarn_log_multiplier"),
        *("rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow"),
        # Of how it was trained, of norms that these architectures do not have, and of vocabularies.
        *("rope.scaling.finetuned", "attention.layer_norm_epsilon", "attention.causal"),
    }
)
"""Keys about attention and rotary embeddings whose meaning is known here."""


def from_gguf(file: GgufFile, context_length: int | None = None) -> DecoderConfig | None:
    """Read GGUF metadata; None if the architecture is not one of the fast path's.

    Args:
        file: The model.
        context_length: The longest sequence that will be computed. None: the model's own length.

    Raises:
        UnsupportedModelError: The architecture is, but the file has something that is not computed.
            Transformers' reading of GGUF would pass over it, so there is no other path.
    """
    if file.architecture not in MODEL_TYPES:
        return None
    _refuse_unknown(file)
    if file.value("expert_count"):
        raise UnsupportedModelError(f"{file.path.name} has experts, which are not computed from GGUF files")
    sizes = _sizes(file)
    if (width := file.value("attention.value_length", _head_width(file))) != _head_width(file):
        raise UnsupportedModelError(
            f"{file.path.name} has values of {width} numbers a head and keys of {_head_width(file)}"
        )
    fields = {
        "model_type": _model_type(file),
        "hidden_act": "silu",
        "head_dim": _head_width(file),
        "vocab_size": file.tensor("token_embd.weight").shape[0],
        "tie_word_embeddings": "output.weight" not in file.tensors,
    }
    fields |= _ASSUMED.get(file.architecture, {}) | sizes | _attention(file) | _ropes(file)
    # The common class: to import an architecture's own takes two seconds.
    shape = from_transformers(PreTrainedConfig(**fields), context_length)
    if shape is None:
        raise UnsupportedModelError(f"{file.path.name} has a rotary embedding of a kind that is not known")
    # The metadata says nothing of biases: a layer has those that the first has.
    return replace(
        shape,
        qkv_bias="blk.0.attn_q.bias" in file.tensors,
        output_bias="blk.0.attn_output.bias" in file.tensors,
        mlp_bias="blk.0.ffn_down.bias" in file.tensors,
    )


def _refuse_unknown(file: GgufFile) -> None:
    """Make sure that nothing is said about attention that would be passed over."""
    prefix = f"{file.architecture}."
    for key in (full.removeprefix(prefix) for full in file.metadata if full.startswith(prefix)):
        if key.startswith(("attention.", "rope.")) and key not in _UNDERSTOOD:
            raise UnsupportedModelError(f"{file.path.name} has {prefix}{key}, which is not known here")
    if not file.value("attention.causal", True):
        raise UnsupportedModelError(f"{file.path.name} sees what follows a token, so it generates no text")


def _sizes(file: GgufFile) -> dict[str, Any]:
    """The numbers that the file has one of for all layers."""
    values: dict[str, Any] = {}
    for name, key in (_FIELDS | _OPTIONAL_FIELDS).items():
        value = file.value(key)
        if isinstance(value, list):
            raise UnsupportedModelError(f"{file.path.name} has a {key} for each layer")
        if value is not None:
            whole = name not in _NUMBERS
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise UnsupportedModelError(f"{file.path.name} has {key} {value!r}")
            most = MOST_LAYERS if name == "num_hidden_layers" else MOST
            if not (0 < value <= most) and name not in _MAY_BE_ZERO:
                raise UnsupportedModelError(f"{file.path.name} has {key} {value}")
            values[name] = value
        elif name in _FIELDS:
            raise UnsupportedModelError(f"{file.path.name} has no {key}")
    return {"num_key_value_heads": values["num_attention_heads"], **values}


def _model_type(file: GgufFile) -> str:
    """Files of Mistral models say ``llama``; the first ones have windows."""
    if file.architecture == "llama" and file.value("attention.sliding_window"):
        return "mistral"
    return MODEL_TYPES[file.architecture]


def _attention(file: GgufFile) -> dict[str, Any]:
    """Sliding windows and the scale of scores."""
    fields: dict[str, Any] = {"layer_types": ["full_attention"] * file.value("block_count")}
    if (window := file.number("attention.sliding_window")) is not None:
        fields["sliding_window"] = window or None
    if (usual := _WINDOW_PERIODS.get(file.architecture)) is not None:
        count = file.value("block_count")
        period = file.value("attention.sliding_window_pattern", usual)
        fits = len(period) == count if isinstance(period, list) else isinstance(period, int) and period > 0
        if not fits:
            raise UnsupportedModelError(f"{file.path.name} has a sliding_window_pattern of {period!r}")
        windowed = period if isinstance(period, list) else [(i + 1) % period > 0 for i in range(count)]
        fields["layer_types"] = ["sliding_attention" if w else "full_attention" for w in windowed]
        fields["query_pre_attn_scalar"] = _head_width(file)
        if count == _LARGEST[file.architecture]:
            fields["query_pre_attn_scalar"] = file.value("embedding_length") // file.value(
                "attention.head_count"
            )
    return fields


def _ropes(file: GgufFile) -> dict[str, Any]:
    """The rotary embedding, or for Gemma 3 the two of them."""
    theta = 1_000_000.0 if file.architecture == "gemma3" else 10_000.0
    rope = {"rope_theta": file.number("rope.freq_base", theta), **_scaling(file)}
    width = _head_width(file)
    if (rotated := file.number("rope.dimension_count", width)) != width:
        rope["partial_rotary_factor"] = rotated / width
    if file.architecture == "gemma3":
        local = {"rope_type": "default", "rope_theta": file.number("rope.freq_base_swa", 10_000.0)}
        return {"rope_parameters": {"full_attention": rope, "sliding_attention": local}}
    fields = {"rope_parameters": rope}
    if (original := rope.get("original_max_position_embeddings")) is not None:
        fields["original_max_position_embeddings"] = original  # where Phi-3's config keeps it
    return fields


def _scaling(file: GgufFile) -> dict[str, Any]:
    """What is done to the rotary frequencies for long contexts."""
    kind, factor = scaling_kind(file), scaling_factor(file)
    scale = file.number("rope.scaling.attn_factor")
    original = file.number("rope.scaling.original_context_length", file.value("context_length"))
    if "rope_factors_long.weight" in file.tensors:
        short, long = (file.tensor(f"rope_factors_{name}.weight") for name in ("short", "long"))
        return _divided(file, short, long, scale, original)
    if worked_out := file.tensors.get("rope_freqs.weight"):  # Llama 3's scaling
        return _divided(file, worked_out, worked_out, 1.0, original)
    if kind == "linear" and factor != 1.0:
        return {"rope_type": "linear", "factor": factor}
    if kind == "yarn" and not factor >= 1:
        raise UnsupportedModelError(f"{file.path.name} has a rope.scaling.factor of {factor}")
    if kind == "yarn" and file.value("rope.scaling.yarn_log_multiplier") is None:
        return {
            "rope_type": "yarn",
            "factor": factor,
            "original_max_position_embeddings": original,
            "attention_factor": (1.0 if scale is None else scale) * (1.0 + 0.1 * math.log(factor)),
            "beta_fast": file.number("rope.scaling.yarn_beta_fast", 32.0),
            "beta_slow": file.number("rope.scaling.yarn_beta_slow", 1.0),
        }
    return {"rope_type": "default" if kind in ("none", "linear") else kind}


def refuse_scaled(file: GgufFile) -> None:
    """Make sure that a file of any architecture has plain rotary frequencies: transformers' reading of GGUF
    passes over how they are scaled.

    Raises:
        UnsupportedModelError: They are scaled.
    """
    kind = scaling_kind(file)
    if kind not in ("none", "linear") or (kind == "linear" and scaling_factor(file) != 1.0):
        raise UnsupportedModelError(f"{file.path.name} scales its rotary embedding ({kind})")


def scaling_kind(file: GgufFile) -> str:
    """How frequencies are scaled: llama.cpp takes files that do not say to be scaled linearly."""
    return str(file.value("rope.scaling.type", "linear"))


def scaling_factor(file: GgufFile) -> float:
    """How many times longer contexts become, under the key's name of today or its first one; 0 is 1."""
    factor = file.value("rope.scaling.factor", file.value("rope.scale_linear")) or 1.0
    if not isinstance(factor, int | float) or not 0 < factor < math.inf:
        raise UnsupportedModelError(f"{file.path.name} scales its rotary embedding by {factor!r}")
    return float(factor)


def _divided(
    file: GgufFile, short: GgufTensor, long: GgufTensor, scale: float | None, original: int
) -> dict[str, Any]:
    """A divisor for each frequency, in sequences up to the ``original`` length and in longer ones."""
    # llama.cpp scales all of them linearly on top.
    every = scaling_factor(file) if scaling_kind(file) == "linear" else 1.0
    return {
        "rope_type": "longrope",
        "short_factor": (short.dequantized() * every).tolist(),
        "long_factor": (long.dequantized() * every).tolist(),
        "attention_factor": scale,
        "original_max_position_embeddings": original,
    }


def _head_width(file: GgufFile) -> int:
    width: int | None = file.value("attention.key_length")
    if width is None:
        hidden, heads = file.value("embedding_length"), file.value("attention.head_count")
        if not (isinstance(hidden, int) and isinstance(heads, int) and heads > 0):
            raise UnsupportedModelError(f"{file.path.name} does not say how wide its heads are")
        width = hidden // heads
    return width
