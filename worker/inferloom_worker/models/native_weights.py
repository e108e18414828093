"""The weights of one decoder layer, as the kernels compute with them."""

import numpy as np
from numpy.typing import NDArray

from inferloom_worker.models.config import DecoderConfig
from inferloom_worker.weights.matrix import Matrix
from inferloom_worker.weights.sources import KernelSource

Vector = NDArray[np.float32]


def layer_matrices(source: KernelSource, config: DecoderConfig, prefix: str) -> dict[str, Matrix]:
    """The matrices of the layer whose tensors' names begin with ``prefix``, by their names in the kernels."""
    attention, mlp = f"{prefix}.self_attn", f"{prefix}.mlp"
    query, key = config.heads * config.head_dim, config.kv_heads * config.head_dim
    return {
        **_parts(source, attention, {"q": query, "k": key, "v": key}, "qkv"),
        "output": source.matrix(f"{attention}.o_proj.weight"),
        **_parts(source, mlp, {"gate": config.intermediate, "up": config.intermediate}, "gate_up"),
        "down": source.matrix(f"{mlp}.down_proj.weight"),
    }


def layer_vectors(source: KernelSource, config: DecoderConfig, prefix: str) -> dict[str, Vector]:
    """The vectors that the layer has, by their names in the kernels; norms as they are applied."""
    attention, mlp = f"{prefix}.self_attn", f"{prefix}.mlp"
    # Between Llama and Gemma 2, the norm after attention has moved, and not its name.
    moved = "attention_post_norm" if config.post_norms else "mlp_norm"
    norms = {
        "input_norm": f"{prefix}.input_layernorm",
        moved: f"{prefix}.post_attention_layernorm",
        "q_norm": f"{attention}.q_norm",
        "k_norm": f"{attention}.k_norm",
    }
    if config.post_norms:
        norms["mlp_norm"] = f"{prefix}.pre_feedforward_layernorm"
        norms["mlp_post_norm"] = f"{prefix}.post_feedforward_layernorm"
    biases = {
        "output_bias": f"{attention}.o_proj",
        "gate_bias": f"{mlp}.gate_proj",
        "up_bias": f"{mlp}.up_proj",
        "down_bias": f"{mlp}.down_proj",
    }
    found: dict[str, Vector | None] = {
        **{name: norm(source, stem, config) for name, stem in norms.items()},
        **{name: source.vector(f"{stem}.bias") for name, stem in biases.items()},
        "qkv_bias": _joined([source.vector(f"{attention}.{part}_proj.bias") for part in "qkv"]),
    }
    return {name: values for name, values in found.items() if values is not None}


def norm(source: KernelSource, name: str, config: DecoderConfig) -> Vector | None:
    """The weight of the norm ``name`` as it is applied, or None if there is none."""
    weight = source.vector(f"{name}.weight")
    return None if weight is None else weight + np.float32(config.norm_offset)


def _parts(source: KernelSource, prefix: str, rows: dict[str, int], whole: str) -> dict[str, Matrix]:
    """Projections that some models store one by one and others, such as Phi-3, in one matrix."""
    if source.has(f"{prefix}.{whole}_proj.weight"):
        matrix = source.matrix(f"{prefix}.{whole}_proj.weight")
        ends = np.cumsum(list(rows.values()))
        return {
            part: matrix.rows(np.arange(end - rows[part], end)) for part, end in zip(rows, ends, strict=True)
        }
    return {part: source.matrix(f"{prefix}.{part}_proj.weight") for part in rows}


def _joined(parts: list[Vector | None]) -> Vector | None:
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if present else None
