"""Tiny GGUF files of real architectures, written from transformers models as llama.cpp's converter does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, RopeScalingType, get_tensor_name_map
from gguf.constants import MODEL_ARCH, MODEL_ARCH_NAMES
from gguf.quants import quantize
from numpy.typing import NDArray
from transformers import PreTrainedConfig, PreTrainedModel

_ARCHITECTURES = {"gemma3_text": "gemma3", "mistral": "llama"}
"""What GGUF calls a model type, where it is not what transformers calls it."""


def write_gguf(
    model: PreTrainedModel,
    path: Path,
    types: Mapping[str, GGMLQuantizationType] | None = None,
    sampling: Mapping[str, float] | None = None,
    tokenizer: Mapping[str, Any] | None = None,
    *,
    more: Mapping[str, object] | None = None,
    parts: int = 0,
) -> Path:
    """Write a model to ``path``, and return it: matrices in the type that ``types`` has for a part of their
    name, everything else in float32. ``sampling`` goes under ``general.sampling``, ``tokenizer`` under
    ``tokenizer``; ``more`` is metadata beside the usual, and ``divisors`` among it stands for Llama 3's
    tensor of them, all the same. With ``parts``, the model is in so many files, the first of which is
    returned."""
    config = model.config
    name = _ARCHITECTURES.get(config.model_type, config.model_type)
    tensors = len(model.state_dict()) - (
        config.tie_word_embeddings and "lm_head.weight" in model.state_dict()
    )
    writer = GGUFWriter(path, name, split_max_tensors=-(-tensors // parts) if parts else 0)
    _write_metadata(writer, config)
    for key, number in (sampling or {}).items():
        add = writer.add_int32 if isinstance(number, int) else writer.add_float32
        add(f"general.sampling.{key}", number)
    for key, value in (tokenizer or {}).items():
        adder = {
            bool: writer.add_bool,
            int: writer.add_uint32,
            str: writer.add_string,
            list: writer.add_array,
        }
        adder[type(value)](f"tokenizer.{key}", value)
    metadata = dict(more or {})
    if (divisor := metadata.pop("divisors", None)) is not None:
        assert isinstance(divisor, float)
        writer.add_tensor("rope_freqs.weight", np.full(config.head_dim // 2, divisor, np.float32))
    for key, value in metadata.items():
        write_value(writer, key, value)
    arch = next(arch for arch, known in MODEL_ARCH_NAMES.items() if known == name)
    for tensor, values in _tensors(model, arch):
        plain = np.ascontiguousarray(values, np.float32)
        kind = next((kind for part, kind in (types or {}).items() if part in tensor), None)
        if kind is None or plain.ndim < 2:
            writer.add_tensor(tensor, plain)
        else:
            writer.add_tensor(tensor, quantize(plain, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.with_name(f"{path.stem}-00001-of-{parts:05d}.gguf") if parts else path


def write_value(writer: GGUFWriter, key: str, value: object) -> None:
    """Add metadata of the type that a value has."""
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        assert isinstance(value, list)
        writer.add_array(key, value)


def _write_metadata(writer: GGUFWriter, config: PreTrainedConfig) -> None:
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    if getattr(config, "attn_logit_softcapping", None):
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if config.model_type in ("gemma2", "gemma3_text", "phi3"):
        writer.add_sliding_window(config.sliding_window or 0)
    rope = config.rope_parameters
    if config.model_type == "gemma3_text":
        writer.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
        rope = rope["full_attention"]
    _write_rope(writer, config, rope)


def _write_rope(writer: GGUFWriter, config: PreTrainedConfig, rope: dict[str, Any]) -> None:
    writer.add_rope_freq_base(rope["rope_theta"])
    if config.model_type == "phi3":
        writer.add_rope_dimension_count(int(config.head_dim * rope.get("partial_rotary_factor", 1.0)))
        writer.add_rope_scaling_orig_ctx_len(config.original_max_position_embeddings)
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if rope["rope_type"] == "longrope":
        stretch = np.log(config.max_position_embeddings / config.original_max_position_embeddings)
        writer.add_rope_scaling_attn_factors(
            float(np.sqrt(1 + stretch / np.log(config.original_max_position_embeddings)))
        )


def _tensors(model: PreTrainedModel, arch: MODEL_ARCH) -> list[tuple[str, NDArray[np.float32]]]:
    config = model.config
    names = get_tensor_name_map(arch, config.num_hidden_layers)
    found = []
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.float().numpy()
        if "norm" in name and config.model_type.startswith("gemma"):
            values = values + 1
        if arch is MODEL_ARCH.LLAMA and ("q_proj" in name or "k_proj" in name):
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            halves = values.reshape(heads, 2, -1, *values.shape[1:])
            values = halves.swapaxes(1, 2).reshape(values.shape)
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert target is not None, name
        found.append((target, values))
    return found + _rope_tensors(model)


def _rope_tensors(model: PreTrainedModel) -> list[tuple[str, NDArray[np.float32]]]:
    """Divisors of rotary frequencies, which llama.cpp keeps as tensors."""
    rope = model.config.rope_parameters
    if rope.get("rope_type") == "longrope":
        return [(f"rope_factors_{n}.weight", np.array(rope[f"{n}_factor"])) for n in ("short", "long")]
    if rope.get("rope_type") == "llama3":
        width = model.config.head_dim
        plain = rope["rope_theta"] ** (-torch.arange(0, width, 2) / width)
        rotary: Any = model.base_model.rotary_emb
        return [("rope_freqs.weight", (plain / rotary.inv_freq).numpy())]
    return []
