"""Mutations of tiny models' files."""

import json
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, BertConfig, BertModel

from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engines.torch.torch_loading import load_causal
from inferloom_worker.models.protocol import CausalModel
from inferloom_worker.weights.gguf import read_gguf
from tests.worker.gguf_files import write_gguf

KINDS = {"gguf": 0.4, "folder": 0.25, "torch": 0.05, "adapter": 0.2, "encoder": 0.1}
"""The kinds of cases and their shares; ``torch`` is a folder that eager torch computes."""

_NUMBERS = (
    0,
    1,
    2,
    3,
    5,
    16,
    31,
    33,
    255,
    256,
    1 << 16,
    1 << 24,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 63,
)
_VALUES: tuple[Any, ...] = (
    *_NUMBERS,
    -1,
    0.5,
    1e30,
    1e-40,
    None,
    True,
    False,
    "",
    "silu",
    [],
    [1, 2],
    {},
    {"a": 1},
)
_NAMES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "mistral")
_SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
_TYPES = [GGMLQuantizationType[name] for name in ("F32", "Q8_0", "Q4_0", "Q4_1", "BF16", "Q5_0")]

Rng = np.random.Generator


class Bases:
    """The models that cases are made from, written once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._case = folder / "now"
        self._ggufs: list[Path] = []
        self._folders: list[Path] = []
        for number, name in enumerate(_NAMES):
            torch.manual_seed(number)
            model = AutoModelForCausalLM.from_config(
                AutoConfig.for_model(name, **_SIZES | {"tie_word_embeddings": "gemma" in name})
            )
            self._folders.append(folder / name)
            model.save_pretrained(self._folders[-1])
            file = folder / f"{name}.gguf"
            self._ggufs.append(
                write_gguf(model, file, {"attn": _TYPES[number % 6], "ffn": _TYPES[(number + 2) % 6]})
            )
            if name == "llama":
                peft = LoraConfig(
                    r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False
                )
                self._adapter = folder / "adapter"
                self._base = folder / "llama"
                get_peft_model(model, peft).save_pretrained(str(self._adapter))
        self._encoder = folder / "encoder"
        sizes = {
            name: size for name, size in _SIZES.items() if name in BertConfig().to_dict() and size is not None
        }
        BertModel(BertConfig(**sizes)).save_pretrained(self._encoder)

    @cached_property
    def base_of_adapters(self) -> CausalModel:
        """The model that adapters are for."""
        model = load_causal(self._base, EngineOptions(threads=1))
        model.allocate(4)
        return model

    def mutate(self, kind: str, rng: Rng) -> Path:
        """Write a case, in the place of the one before; its path."""
        shutil.rmtree(self._case, ignore_errors=True)
        if kind == "gguf":
            base = self._ggufs[rng.integers(len(self._ggufs))]
            self._case.mkdir()
            (made := self._case / "model.gguf").write_bytes(_gguf(base, rng))
            return made
        base = {"adapter": self._adapter, "encoder": self._encoder}.get(kind) or self._folders[
            rng.integers(len(_NAMES))
        ]
        shutil.copytree(base, self._case)
        file = self._case / ("adapter_model.safetensors" if kind == "adapter" else "model.safetensors")
        config = self._case / ("adapter_config.json" if kind == "adapter" else "config.json")
        what = rng.integers(4)
        if what == 0:
            config.write_text(json.dumps(_setting(json.loads(config.read_text()), rng)))
        elif what == 1:
            file.write_bytes(_header(file.read_bytes(), rng))
        elif what == 2:
            size = int.from_bytes(file.read_bytes()[:8], "little")
            file.write_bytes(_bytes(file.read_bytes(), 8 + size, rng))
        else:
            file.write_bytes(_damage(file.read_bytes(), rng))
        return self._case


def _gguf(base: Path, rng: Rng) -> bytes:
    """Change a number of the header, a name, a tensor's entry, the weights, or any byte."""
    data = base.read_bytes()
    start = min(_begin(data, tensor.data) for tensor in read_gguf(base).tensors.values())
    what = rng.integers(5)
    if what <= 1:
        return _bytes(data, start, rng)
    if what == 2:
        return _damage(data, rng)
    changed = bytearray(data)
    for _ in range(rng.integers(1, 3)):
        if what == 3:  # any aligned or unaligned number
            at, width = int(rng.integers(4, start - 8)), int(rng.choice([4, 8]))
            value = _NUMBERS[rng.integers(len(_NUMBERS))] % (1 << 8 * width)
            changed[at : at + width] = value.to_bytes(width, "little")
        else:  # a byte of the header, most of which is keys, names and small numbers
            at = int(rng.integers(4, start))
            changed[at] = int(rng.integers(256)) if rng.random() < 0.5 else (changed[at] + 1) % 256
    return bytes(changed)


def _begin(data: bytes, part: "np.ndarray[Any, np.dtype[np.uint8]]") -> int:
    """Where a tensor's bytes begin in a file."""
    return data.find(part.tobytes())


def _bytes(data: bytes, start: int, rng: Rng) -> bytes:
    """Change some of the weights' bytes; most models stay models."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        changed[int(rng.integers(start, len(data)))] = int(rng.integers(256))
    return bytes(changed)


def _damage(data: bytes, rng: Rng) -> bytes:
    """Cut it short, double a part, or change any byte."""
    what = rng.integers(3)
    at = int(rng.integers(1, len(data)))
    if what == 0:
        return data[:at]
    if what == 1:
        return data[:at] + data[at // 2 :]
    return data[:at] + bytes([int(rng.integers(256))]) + data[at + 1 :]


def _setting(values: dict[str, Any], rng: Rng) -> dict[str, Any]:
    """Change, drop or add settings."""
    for _ in range(rng.integers(1, 3)):
        name = str(rng.choice(sorted(values)))
        what = rng.integers(4)
        if what == 0:
            values.pop(name)
        elif what == 1 and isinstance(values.get(name), int):
            values[name] = values[name] + int(rng.choice([-1, 1, 16]))
        elif what == 2:
            values["extra"] = _VALUES[rng.integers(len(_VALUES))]
        else:
            values[name] = _VALUES[rng.integers(len(_VALUES))]
    return values


def _header(data: bytes, rng: Rng) -> bytes:
    """Change a safetensors header: a shape, a type, offsets or a name, or leave a tensor out."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    body = data[8 + size :]
    name = str(rng.choice(sorted(key for key in header if key != "__metadata__")))
    entry, what = header[name], rng.integers(6)
    if what == 0:
        entry["shape"] = [*reversed(entry["shape"])] if rng.random() < 0.5 else [int(np.prod(entry["shape"]))]
    elif what == 1:
        entry["shape"][0] = _NUMBERS[rng.integers(len(_NUMBERS))]
    elif what == 2:
        entry["dtype"] = str(rng.choice(["F32", "F16", "BF16", "I8", "U8", "F8_E4M3", "I64", "BOOL", "X9"]))
    elif what == 3:
        entry["data_offsets"][int(rng.integers(2))] = _NUMBERS[rng.integers(len(_NUMBERS))]
    elif what == 4:
        header[name.replace("weight", "bias") if rng.random() < 0.5 else name + ".x"] = header.pop(name)
    else:
        # Another tensor of the same numbers: a shape that the file allows, and the config does not.
        other = str(rng.choice(sorted(key for key in header if key != "__metadata__")))
        header[name], header[other] = header[other], header[name]
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body
