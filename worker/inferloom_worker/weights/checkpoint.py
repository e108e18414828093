"""Weights by their transformers names, whatever file they come from."""

import json
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor

from inferloom_worker.weights.gguf import GgufFile

_GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}

_INTERLEAVED = {".q_proj.": "attention.head_count", ".k_proj.": "attention.head_count_kv"}


class Checkpoint(Protocol):
    """A set of named tensors."""

    def find(self, name: str) -> Tensor | None:
        """The tensor ``name`` in its stored type (quantised ones as float32), or None if there is none."""
        ...


class FolderCheckpoint:
    """The safetensors files of a model folder.

    Raises:
        FileNotFoundError: The folder has none. Pickled weights are not read: loading one runs its code.
    """

    def __init__(self, folder: Path) -> None:
        index = folder / "model.safetensors.index.json"
        if index.exists():
            files: dict[str, str] = json.loads(index.read_text())["weight_map"]
            self._files = {name: folder / Path(file).name for name, file in files.items()}
        else:
            self._files = {}
            for path in sorted(folder.glob("*.safetensors")):
                with safe_open(path, "pt") as opened:
                    self._files.update(dict.fromkeys(opened.keys(), path))
        if not self._files:
            raise FileNotFoundError(f"{folder} has no safetensors weights")

    def find(self, name: str) -> Tensor | None:
        """See the protocol."""
        path = self._files.get(name)
        if path is None:
            return None
        with safe_open(path, "pt") as opened:
            tensor: Tensor = opened.get_tensor(name)
        return tensor


class GgufCheckpoint:
    """The tensors of a GGUF file, dequantised exactly."""

    def __init__(self, file: GgufFile) -> None:
        self.file = file

    def find(self, name: str) -> Tensor | None:
        """See the protocol."""
        tensor = self.file.tensors.get(gguf_name(name))
        if tensor is None:
            return None
        values = torch.from_numpy(np.require(tensor.dequantized(), requirements="W"))
        order = self.row_order(name, len(values))
        return values if order is None else values[torch.from_numpy(order)]

    def row_order(self, name: str, rows: int) -> NDArray[np.int64] | None:
        """The order that puts a tensor's rows as transformers computes them; None if they are so already.

        llama.cpp keeps the two rows of each rotary pair side by side in Llama models; transformers has the
        first halves of a head before the second halves.
        """
        key = next((k for part, k in _INTERLEAVED.items() if part in name), None)
        if key is None or self.file.architecture != "llama":
            return None
        heads = self.file.value(key, self.file.value("attention.head_count"))
        return np.arange(rows).reshape(heads, -1, 2).swapaxes(1, 2).reshape(rows)


def gguf_name(name: str) -> str:
    """The GGUF name of a transformers tensor name: ``model.layers.3.mlp.up_proj.weight`` is
    ``blk.3.ffn_up.weight``."""
    stem, suffix = name.rsplit(".", 1)
    if stem.startswith("model.layers."):
        _, _, layer, part = stem.split(".", 3)
        return f"blk.{layer}.{_GGUF_NAMES.get(part, part)}.{suffix}"
    return f"{_GGUF_NAMES.get(stem, stem)}.{suffix}"
