"""Tiny random models of real architectures, and what transformers makes of them."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, GgufConfig, PreTrainedModel

VOCABULARY = 384

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_YARN_ROPE = {
    "rope_type": "yarn",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 128,
}
_LINEAR_ROPE = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}
_DYNAMIC_ROPE = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 4.0}
_LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "short_factor": [1.0, 1.1],
    "long_factor": [1.5, 6.0],
}
_GEMMA = {"sliding_window": 24, "query_pre_attn_scalar": 12, "tie_word_embeddings": True}

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama"},
    "llama-tied": {"model_type": "llama", "tie_word_embeddings": True},
    "llama-biased": {"model_type": "llama", "attention_bias": True},
    "llama-scaled": {"model_type": "llama", "rope_parameters": _LLAMA3_ROPE},
    "llama-yarn": {"model_type": "llama", "rope_parameters": _YARN_ROPE},
    "llama-linear": {"model_type": "llama", "rope_parameters": _LINEAR_ROPE, "mlp_bias": True},
    "llama-dynamic": {"model_type": "llama", "rope_parameters": _DYNAMIC_ROPE},
    "mistral": {"model_type": "mistral", "sliding_window": 24},
    "qwen2": {"model_type": "qwen2"},
    "qwen2-window": {
        "model_type": "qwen2",
        "use_sliding_window": True,
        "sliding_window": 24,
        "max_window_layers": 1,
    },
    "qwen3": {"model_type": "qwen3"},
    "gemma": {"model_type": "gemma"},
    "gemma2": {
        "model_type": "gemma2",
        **_GEMMA,
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 4.0,
    },
    "gemma3": {
        "model_type": "gemma3_text",
        **_GEMMA,
        "sliding_window_pattern": 3,
        "rope_parameters": {
            "full_attention": {**_LINEAR_ROPE, "rope_theta": 100_000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1_000.0},
        },
    },
    "phi3": {"model_type": "phi3", "sliding_window": 24},
    "phi3-partial": {"model_type": "phi3", "partial_rotary_factor": 0.5},
    "phi3-longrope": {
        "model_type": "phi3",
        "partial_rotary_factor": 0.5,
        "original_max_position_embeddings": 128,
        "rope_parameters": _LONG_ROPE,
    },
    "gpt2": {"model_type": "gpt2", "n_embd": 48, "n_layer": 3, "n_head": 6, "n_positions": 512},
    "gpt_neox": {"model_type": "gpt_neox"},
    "olmo2": {"model_type": "olmo2"},
    "mixtral": {"model_type": "mixtral", "num_local_experts": 4},
}
"""Name → config fields that differ from the common shape."""

GENERAL_ONLY = frozenset({"gpt2", "gpt_neox", "olmo2", "mixtral"})
"""The architectures that the fast path does not compute."""


def make_model(folder: Path, architecture: str, **changes: object) -> Path:
    """Write a random model of the architecture into ``folder``, and return the folder."""
    fields = _SHAPE | ARCHITECTURES[architecture] | changes
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**fields))
    with torch.no_grad():
        for parameter in model.parameters():
            # The usual initialisation gives nearly equal logits; wider weights make greedy choices clear.
            parameter.normal_(0.0, 0.12) if parameter.ndim > 1 else parameter.add_(
                0.1 * torch.randn_like(parameter)
            )
    model.save_pretrained(folder)
    return folder


def reference(path: Path) -> PreTrainedModel:
    """The model at ``path``, a folder or a GGUF file, as transformers computes it in float32."""
    where: dict[str, Any] = {}
    if path.suffix == ".gguf":
        where = {"gguf_file": path.name, "quantization_config": GgufConfig(dequantize=True)}
    folder = path.parent if where else path
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **where)
    return model.eval()


def greedy(model: PreTrainedModel, prompt: list[int], count: int) -> list[int]:
    """The tokens that transformers generates after ``prompt``."""
    inputs = torch.tensor([prompt])
    output = model.generate(
        inputs,
        attention_mask=torch.ones_like(inputs),
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    tokens: list[int] = output[0, len(prompt) :].tolist()
    return tokens
