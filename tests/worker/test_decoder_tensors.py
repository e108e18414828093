"""Weights that are not those of their config are refused by name, before anything is computed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engines.torch.torch_loading import load_causal
from tests.worker.gguf_files import write_gguf
from tests.worker.models import make_model, reference

Tensors = dict[str, torch.Tensor]
LAYER = "model.layers.1"
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "head_dim": 16}


def resized(name: str, *shape: int) -> Callable[[Tensors], None]:
    """A tensor of another shape."""

    def change(tensors: Tensors) -> None:
        tensors[name] = torch.ones(shape)

    return change


def without(name: str) -> Callable[[Tensors], None]:
    """A tensor fewer."""

    def change(tensors: Tensors) -> None:
        del tensors[name]

    return change


def retyped(name: str, dtype: torch.dtype) -> Callable[[Tensors], None]:
    """A tensor of another type."""

    def change(tensors: Tensors) -> None:
        tensors[name] = tensors[name].to(dtype)

    return change


CHANGES: dict[str, tuple[Callable[[Tensors], None], str]] = {
    "no last norm": (without("model.norm.weight"), "no tensor model.norm.weight"),
    "no norm of a layer": (without(f"{LAYER}.input_layernorm.weight"), "no tensor .*input_layernorm"),
    "a long norm": (resized("model.norm.weight", 65536), "64 expected by the config, 65536 found"),
    "a short norm": (resized(f"{LAYER}.input_layernorm.weight", 32), "64 expected by the config, 32 found"),
    "fewer queries": (
        resized(f"{LAYER}.self_attn.q_proj.weight", 32, 64),
        "64 × 64 expected .* 32 × 64 found",
    ),
    "more feed-forward": (resized(f"{LAYER}.mlp.up_proj.weight", 4096, 64), "128 × 64 expected .* 4096 × 64"),
    "other columns": (resized(f"{LAYER}.mlp.down_proj.weight", 64, 4096), "64 × 128 expected .* 64 × 4096"),
    "fewer words": (resized("model.embed_tokens.weight", 100, 64), "384 × 64 expected .* 100 × 64 found"),
    "another head": (resized("lm_head.weight", 384, 32), "384 × 64 expected .* 384 × 32 found"),
    "packed bytes": (resized(f"{LAYER}.mlp.up_proj.weight", 4096, 1), "128 × 64 expected .* 4096 × 1 found"),
    "a bias": (resized(f"{LAYER}.self_attn.q_proj.bias", 64), "q_proj.bias, which .* has no place for"),
    "a norm of queries": (
        resized(f"{LAYER}.self_attn.q_norm.weight", 16),
        "q_norm.weight, which .* no place for",
    ),
    "a layer more": (resized("model.layers.3.mlp.up_proj.weight", 128, 64), "layers.3.* no place for"),
    "a scale elsewhere": (
        resized(f"{LAYER}.mlp.up_proj.weight_scale", 1),
        "weight_scale, which .* no place for",
    ),
    "integers": (retyped(f"{LAYER}.mlp.up_proj.weight", torch.int8), "stored as int8"),
    "float8": (retyped(f"{LAYER}.mlp.up_proj.weight", torch.float8_e4m3fn), "stored as float8_e4m3fn"),
}


@pytest.mark.parametrize("dtype", ["auto", "float32"])
@pytest.mark.parametrize(("change", "words"), CHANGES.values(), ids=CHANGES)
def test_a_folder_that_contradicts_its_config_is_refused(
    change: Callable[[Tensors], None], words: str, dtype: str, tmp_path: Path
) -> None:
    """The error names the tensor and both shapes, in the kernels and in torch."""
    make_model(tmp_path, "llama", **SIZES)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(ValueError, match=words):
        load_causal(tmp_path, EngineOptions(dtype=dtype, threads=1))  # type: ignore[arg-type]


GGUF_CHANGES: dict[str, tuple[Callable[[Tensors], None], str]] = {
    "no last norm": (without("model.norm.weight"), "no tensor model.norm.weight"),
    "more feed-forward": (
        resized(f"{LAYER}.mlp.up_proj.weight", 4096, 64),
        "blk.1.ffn_up.weight has the wrong shape",
    ),
    "a bias in one layer": (
        resized(f"{LAYER}.self_attn.q_proj.bias", 64),
        "blk.1.attn_q.bias, which .* no place",
    ),
}


@pytest.mark.parametrize("dtype", ["auto", "float32"])
@pytest.mark.parametrize(("change", "words"), GGUF_CHANGES.values(), ids=GGUF_CHANGES)
def test_a_file_that_contradicts_itself_is_refused(
    change: Callable[[Tensors], None], words: str, dtype: str, tmp_path: Path
) -> None:
    """The same for GGUF, by the file's own names."""
    model = reference(make_model(tmp_path, "llama", **SIZES))
    tensors = dict(model.state_dict())
    change(tensors)
    model.state_dict = lambda: tensors  # what the writer writes
    file = write_gguf(model, tmp_path / "model.gguf")
    with pytest.raises(ValueError, match=words):
        load_causal(file, EngineOptions(dtype=dtype, threads=1))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["auto", "float32"])
@pytest.mark.parametrize("lie", [1, 4, 3, 0])
def test_key_value_heads_that_the_tensors_do_not_have_are_refused(
    lie: int, dtype: str, tmp_path: Path
) -> None:
    """Four bytes of a header decide how far the kernels write; they are checked against the tensors."""
    model = reference(make_model(tmp_path, "llama", **SIZES))
    file = write_gguf(model, tmp_path / "model.gguf")
    data = bytearray(file.read_bytes())
    key = b"llama.attention.head_count_kv"
    at = data.index(key) + len(key) + 4
    assert np.frombuffer(data, "<u4", 1, at) == 2
    data[at : at + 4] = lie.to_bytes(4, "little")
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"wrong shape|no multiple|head_count_kv 0"):
        load_causal(file, EngineOptions(dtype=dtype, threads=1))  # type: ignore[arg-type]


def test_the_general_path_refuses_other_shapes_by_name(tmp_path: Path) -> None:
    """Transformers' own code computes it, and a tensor of another shape is named all the same."""
    make_model(tmp_path, "olmo2")
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.1.mlp.up_proj.weight"] = torch.ones(97, 48)
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(
        ValueError, match=r"model.layers.1.mlp.up_proj.weight .*96, 48.* expected, .*97, 48.* found"
    ):
        load_causal(tmp_path, EngineOptions(dtype="float32", threads=1))
