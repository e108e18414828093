"""Reading adapters: what peft saves is understood or refused."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from inferloom_worker.lora.config import AdapterError, read_config
from inferloom_worker.lora.placement import Target, place
from inferloom_worker.lora.weights import LowRank, read_lora

Q = "model.layers.0.self_attn.q_proj"
PREFIX = f"base_model.model.{Q}"


def write(folder: Path, tensors: dict[str, torch.Tensor] | None = None, **config: Any) -> Path:
    """An adapter of one module with the given settings."""
    values = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, **config}
    (folder / "adapter_config.json").write_text(json.dumps(values))
    if tensors is None:
        tensors = {
            f"{PREFIX}.lora_A.weight": torch.ones(2, 8),
            f"{PREFIX}.lora_B.weight": torch.ones(4, 2),
        }
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize("stored", ["model.language_model.layers.0", "language_model.model.layers.0"])
def test_names_of_a_model_that_sees_are_those_of_its_decoder(stored: str, tmp_path: Path) -> None:
    """An adapter that was trained on a Gemma 3 with eyes fits its decoder, as the base's own weights do."""
    prefix = f"base_model.model.{stored}.self_attn.q_proj"
    tensors = {f"{prefix}.lora_A.weight": torch.ones(2, 8), f"{prefix}.lora_B.weight": torch.ones(4, 2)}
    changes = place(read_lora(write(tmp_path, tensors), 2), {Q: Target("q", 0, 4, 8)})
    assert list(changes) == ["q"]


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({}, 3.0),
        ({"use_rslora": True}, 6 / math.sqrt(2)),
        ({"alpha_pattern": {"q_proj": 1}}, 0.5),
        ({"alpha_pattern": {"k_proj": 1, r"layers\.0\..*": 8, "q_proj": 1}}, 4.0),
        ({"rank_pattern": {"proj": 7}}, 3.0),
        (
            {"lora_dropout": 0.5, "target_modules": ["q_proj"], "peft_version": "1", "eva_config": {"a": 1}},
            3.0,
        ),
    ],
)
def test_the_scale_is_in_the_change(config: dict[str, Any], scale: float, tmp_path: Path) -> None:
    """By the first pattern that fits the end of the module's name; settings of training change nothing."""
    lora = read_lora(write(tmp_path, **config), 2)

    assert list(lora) == [Q]
    assert torch.equal(lora[Q].a, torch.ones(2, 8))
    assert torch.allclose(lora[Q].b, torch.full((4, 2), scale))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "IA3"}, "peft type IA3 are not supported"),
        ({"use_dora": True}, "DoRA are not supported"),
        ({"bias": "all"}, "biases are not supported"),
        ({"lora_bias": True}, "biases"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"trainable_token_indices": [1]}, "trained token embeddings"),
        ({"init_lora_weights": "pissa"}, "path_initial_model_for_weight_conversion"),
        ({"from_the_future": 1}, "from_the_future are not supported"),
        ({"r": 0}, "at least 1"),
        ({"r": "two"}, "must be a number"),
        ({"lora_alpha": None}, "must be a number"),
        ({"alpha_pattern": {"(": 1}}, "bad pattern"),
        ({"rank_pattern": [1]}, "must be an object"),
        ({"r": 3}, "not of rank 3"),
        ({"r": 9}, "max_adapter_rank is 8"),
    ],
)
def test_what_is_not_understood_is_refused(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    """By name, before anything is computed wrongly."""
    with pytest.raises(AdapterError, match=message):
        read_lora(write(tmp_path, **config), 8)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({f"{PREFIX}.lora_A.weight": torch.ones(2, 8)}, "lacks .*lora_B"),
        ({f"{PREFIX}.lora_B.weight": torch.ones(2, 8)}, "holds .*lora_B"),
        ({"base_model.model.lm_head.weight": torch.ones(2, 8)}, "holds base_model.model.lm_head.weight"),
        ({}, "is empty"),
    ],
)
def test_weights_that_are_no_pairs_are_refused(
    tensors: dict[str, torch.Tensor], message: str, tmp_path: Path
) -> None:
    """Every tensor of the file is used, or the adapter is not."""
    with pytest.raises(AdapterError, match=message):
        read_lora(write(tmp_path, tensors), 8)


def test_other_files_are_no_adapters(tmp_path: Path) -> None:
    """A folder without settings, without safetensors, or with damaged ones."""
    with pytest.raises(AdapterError, match="no adapter made by peft"):
        read_config(tmp_path)
    write(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(AdapterError, match="damaged or cut short"):
        read_lora(tmp_path, 8)
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(AdapterError, match="pickled weights are not read"):
        read_lora(tmp_path, 8)
    (tmp_path / "adapter_config.json").write_text("[]")
    with pytest.raises(AdapterError, match="not a JSON object"):
        read_config(tmp_path)


def test_changes_of_fused_modules_share_their_inputs() -> None:
    """One first matrix for a projection, and a part for each of its modules."""
    change = LowRank(torch.ones(2, 8), torch.ones(4, 2))
    targets = {"q": Target("qkv", 0, 4, 8), "v": Target("qkv", 6, 4, 8), "o": Target("output", 0, 8, 4)}
    placed = place({"q": change, "v": change}, targets)

    assert list(placed) == ["qkv"]
    assert placed["qkv"].a.shape == (4, 8)
    assert [(part.first, part.low) for part in placed["qkv"].parts] == [(0, 0), (6, 2)]
    with pytest.raises(AdapterError, match="no module lm_head"):
        place({"lm_head": change}, targets)
    with pytest.raises(AdapterError, match="4 inputs and 8 outputs in the base model, and 8 and 4 in the"):
        place({"o": change}, targets)
