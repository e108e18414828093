"""Weights by their transformers names, whatever file they come from."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inferloom_worker.sourcing.json_files import read_object
from inferloom_worker.sourcing.lfs_pointer import CheckpointError
from inferloom_worker.weights.dequantizing import PLAIN_TYPES, dequantized, spelled
from inferloom_worker.weights.gguf import GgufFile, GgufTensor
from inferloom_worker.weights.quantized import INSTEAD, QuantizationError, read_quantization
from inferloom_worker.weights.safetensors_files import open_safetensors, stored_tensors

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
_GEMMA_NAMES = _GGUF_NAMES | {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
_PHI_NAMES = _GGUF_NAMES | {"self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up"}
del _PHI_NAMES["mlp.up_proj"]  # there is none: ``ffn_up`` holds the gate too
_NAMES_OF = {"gemma2": _GEMMA_NAMES, "gemma3": _GEMMA_NAMES, "phi3": _PHI_NAMES}

_OFFSET_NORMS = frozenset({"gemma", "gemma2", "gemma3"})
"""Architectures in whose files norms have the 1 added that transformers adds when it computes."""
_INTERLEAVED = {".q_proj.": "attention.head_count", ".k_proj.": "attention.head_count_kv"}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """What a file says of a tensor, before it is read."""

    name: str
    """In the file."""
    shape: tuple[int, ...]
    type: str
    readable: bool
    """False where its values cannot be had as numbers. Where it is true, reading may still tell why not."""


class Checkpoint(Protocol):
    """A set of named tensors."""

    def names(self) -> Iterable[str]:
        """Every tensor, by its name in the file."""
        ...

    def stored(self, name: str) -> StoredTensor | None:
        """What the file says of the tensor that transformers calls ``name``, or None if there is none."""
        ...

    def find(self, name: str) -> Tensor | None:
        """The tensor ``name`` in its stored type (quantised ones as float32), or None if there is none."""
        ...


class FolderCheckpoint:
    """The safetensors files of a model folder; of a model that sees as well, its decoder's. Quantised weights
    come as the numbers that they stand for.

    Raises:
        FileNotFoundError: The folder has none. Pickled weights are not read: loading one runs its code.
        CheckpointError: A file is missing or damaged.
        QuantizationError: The weights are quantised in a way that is not computed.
    """

    def __init__(self, folder: Path) -> None:
        self._files = stored_tensors(folder)
        self._quantization = read_quantization(read_object(folder / "config.json"), folder.name)

    def names(self) -> Iterable[str]:
        """What goes with a quantised weight, such as its scale, is a part of it."""
        if self._quantization is None:
            return self._files
        return [name for name in self._files if not self._is_part(name)]

    def _is_part(self, name: str) -> bool:
        owner, _, part = name.rpartition(".")
        return part not in ("weight", "bias") and f"{owner}.weight" in self._files

    def stored(self, name: str) -> StoredTensor | None:
        place = self._place(name)
        return None if place is None else self._headers[place]

    @cached_property
    def _headers(self) -> dict[str, StoredTensor]:
        headers: dict[str, StoredTensor] = {}
        for path in dict.fromkeys(self._files.values()):
            with open_safetensors(path, "np") as opened:
                for name in opened.keys():  # noqa: SIM118 # no dict
                    piece = opened.get_slice(name)
                    kind = str(piece.get_dtype())
                    headers[name] = StoredTensor(name, tuple(piece.get_shape()), kind, readable=True)
        if missing := self._files.keys() - headers.keys():
            raise CheckpointError(f"the index names a tensor {min(missing)} that its file does not hold")
        return headers

    def find(self, name: str) -> Tensor | None:
        """The tensor, as numbers; None if there is none.

        Raises:
            CheckpointError: Its file is damaged.
            QuantizationError: It is stored as integers or float8, in a way that is not computed.
        """
        stored = self._place(name)
        if stored is None:
            return None
        tensor = self._read(stored)
        assert tensor is not None
        if tensor.dtype in PLAIN_TYPES:
            return tensor
        if self._quantization is None or not stored.endswith(".weight"):
            raise QuantizationError(
                f"{stored} is stored as {spelled(tensor)}, "
                f"and config.json has no quantization_config that says how to read it; {INSTEAD}"
            )
        return dequantized(self._quantization, stored, tensor, self._read)

    def _read(self, stored: str) -> Tensor | None:
        """A tensor as it is stored."""
        path = self._files.get(stored)
        if path is None:
            return None
        with open_safetensors(path) as file:
            tensor: Tensor = file.get_tensor(stored)
        return tensor

    def _place(self, name: str) -> str | None:
        """The file's name for a tensor."""
        inner = name.removeprefix("model.")
        # The second is how the hub's files of models that see are written, the third how transformers 5 does.
        places = (name, f"language_model.{name}", f"model.language_model.{inner}")
        return next((place for place in places if place in self._files), None)


class GgufCheckpoint:
    """The tensors of a GGUF file, dequantised exactly."""

    def __init__(self, file: GgufFile) -> None:
        self.file = file

    def names(self) -> Iterable[str]:
        return self.file.tensors

    def stored(self, name: str) -> StoredTensor | None:
        tensor = self.tensor(name)
        if tensor is None:
            return None
        return StoredTensor(tensor.name, tensor.shape, tensor.type.name, tensor.readable)

    def find(self, name: str) -> Tensor | None:
        tensor = self.tensor(name)
        if tensor is None:
            return None
        values = torch.from_numpy(np.require(tensor.dequantized(), requirements="W"))
        if name.endswith("norm.weight") and self.file.architecture in _OFFSET_NORMS:
            values -= 1
        order = self.row_order(name, len(values))
        return values if order is None else values[torch.from_numpy(order)]

    def tensor(self, name: str) -> GgufTensor | None:
        """The file's tensor for a transformers name, as it is stored."""
        return self.file.tensors.get(gguf_name(name, self.file.architecture))

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


def gguf_name(name: str, architecture: str) -> str:
    """The GGUF name of a transformers tensor name: ``model.layers.3.mlp.up_proj.weight`` is
    ``blk.3.ffn_up.weight``. Some mean other things from architecture to architecture."""
    names = _NAMES_OF.get(architecture, _GGUF_NAMES)
    stem, suffix = name.rsplit(".", 1)
    if stem.startswith("model.layers."):
        _, _, layer, part = stem.split(".", 3)
        return f"blk.{layer}.{names.get(part, part)}.{suffix}"
    return f"{names.get(stem, stem)}.{suffix}"
