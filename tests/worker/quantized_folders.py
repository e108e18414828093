"""Quantised folders, written as the libraries write them, beside the numbers that they stand for."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

Stored = Mapping[str, Tensor]
"""What is stored for one matrix: by what its name ends in."""

Scheme = tuple[dict[str, Any], Callable[[Tensor], tuple[Stored, Tensor]]]
"""A ``quantization_config``, and from a matrix to what is stored for it and what that stands for."""

BLOCK = (32, 16)


def write_quantized(base: Path, folder: Path, scheme: Scheme) -> Path:
    """Quantise the linear layers of the model in ``base``; return the folder. Beside it, ``{folder}-plain``
    gets the same numbers as float32."""
    config, quantize = scheme
    stored: dict[str, Tensor] = {}
    plain: dict[str, Tensor] = {}
    for name, tensor in load_file(base / "model.safetensors").items():
        if not name.endswith("_proj.weight"):
            stored[name] = plain[name] = tensor
            continue
        parts, numbers = quantize(tensor.float())
        stem = name.removesuffix("weight")
        stored |= {stem + end: part.contiguous() for end, part in parts.items()}
        plain[name] = numbers.contiguous()
    _save(base, folder, stored, config)
    _save(base, folder.with_name(f"{folder.name}-plain"), plain, None)
    return folder


def _save(base: Path, folder: Path, tensors: dict[str, Tensor], quantization: dict[str, Any] | None) -> None:
    folder.mkdir()
    settings = json.loads((base / "config.json").read_text())
    if quantization is not None:
        settings["quantization_config"] = quantization
    (folder / "config.json").write_text(json.dumps(settings))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def _spread(scale: Tensor, shape: torch.Size, high: int, wide: int) -> Tensor:
    return scale.repeat_interleave(high, 0)[: shape[0]].repeat_interleave(wide, 1)[:, : shape[1]]


def _greatest(weight: Tensor, high: int, wide: int) -> Tensor:
    """The greatest magnitude of each block, the last ones of which may be cut."""
    rows, columns = weight.shape
    padded = torch.nn.functional.pad(weight.abs(), (0, -columns % wide, 0, -rows % high))
    greatest: Tensor = padded.unflatten(0, (-1, high)).unflatten(2, (-1, wide)).amax((1, 3))
    return greatest


def _float8(name: str, high: int, wide: int) -> Callable[[Tensor], tuple[Stored, Tensor]]:
    """float8 with a scale for each block; 0 stands for the whole matrix' height or width."""

    def quantize(weight: Tensor) -> tuple[Stored, Tensor]:
        tall, broad = high or weight.shape[0], wide or weight.shape[1]
        scale = _greatest(weight, tall, broad) / 448
        every = _spread(scale, weight.shape, tall, broad)
        q = (weight / every).to(torch.float8_e4m3fn)
        return {"weight": q, name: scale[0] if not high and not wide else scale}, q.float() * every

    return quantize


def _int8(name: str, wide: int = 0, factor: float = 1.0) -> Callable[[Tensor], tuple[Stored, Tensor]]:
    """int8 with a scale for each row, or for each ``wide`` columns of it."""

    def quantize(weight: Tensor) -> tuple[Stored, Tensor]:
        scale = _greatest(weight, 1, wide or weight.shape[1]) / 127
        every = _spread(scale, weight.shape, 1, wide or weight.shape[1])
        q = torch.round(weight / every).to(torch.int8)
        return {"weight": q, name: scale / factor}, q.float() * every

    return quantize


def _bitsandbytes(weight: Tensor) -> tuple[Stored, Tensor]:
    stored, numbers = _int8("SCB", factor=1 / 127)(weight)
    flat = {"SCB": stored["SCB"].reshape(-1), "weight_format": torch.tensor(0, dtype=torch.uint8)}
    return {**stored, **flat}, numbers


def _asymmetric(weight: Tensor) -> tuple[Stored, Tensor]:
    low, high = weight.amin(1, keepdim=True), weight.amax(1, keepdim=True)
    scale = (high - low) / 255
    zero = (-128 - torch.round(low / scale)).to(torch.int8)
    q = (torch.round(weight / scale) + zero).clamp(-128, 127).to(torch.int8)
    return {"weight": q, "weight_scale": scale, "weight_zero_point": zero}, (q.float() - zero) * scale


def _compressed(form: str, **weights: Any) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": {"num_bits": 8, "symmetric": True, **weights}}
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    }


SCHEMES: dict[str, Scheme] = {
    "fp8-block": (
        {"quant_method": "fp8", "weight_block_size": list(BLOCK), "activation_scheme": "dynamic"},
        _float8("weight_scale_inv", *BLOCK),
    ),
    "fp8-tensor": ({"quant_method": "fp8"}, _float8("weight_scale_inv", 0, 0)),
    "fbgemm": ({"quant_method": "fbgemm_fp8"}, _float8("weight_scale", 1, 0)),
    "modelopt": ({"quant_method": "modelopt", "quant_algo": "FP8"}, _float8("weight_scale", 0, 0)),
    "compressed-fp8-tensor": (
        _compressed("float-quantized", type="float", strategy="tensor"),
        _float8("weight_scale", 0, 0),
    ),
    "compressed-fp8-channel": (
        _compressed("float-quantized", type="float", strategy="channel"),
        _float8("weight_scale", 1, 0),
    ),
    "compressed-fp8-block": (
        _compressed("float-quantized", type="float", strategy="block", block_structure=list(BLOCK)),
        _float8("weight_scale", *BLOCK),
    ),
    "compressed-int8": (
        _compressed("int-quantized", type="int", strategy="channel"),
        _int8("weight_scale"),
    ),
    "compressed-int8-groups": (
        _compressed("int-quantized", type="int", strategy="group", group_size=16),
        _int8("weight_scale", 16),
    ),
    "compressed-int8-asymmetric": (
        _compressed("int-quantized", type="int", strategy="channel", symmetric=False),
        _asymmetric,
    ),
    "bitsandbytes-int8": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, _bitsandbytes),
}
"""What is computed, by name."""

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "gptq": ({"quant_method": "gptq", "bits": 4, "group_size": 128}, r"gptq \(4 bits\)"),
    "awq": ({"quant_method": "awq", "bits": 4}, r"awq \(4 bits\)"),
    "bitsandbytes-4bit": ({"quant_method": "bitsandbytes", "load_in_4bit": True}, r"bitsandbytes \(4 bits\)"),
    "packed": (
        _compressed("pack-quantized", type="int", strategy="group", num_bits=4),
        r"compressed-tensors \(pack-quantized\)",
    ),
    "nvfp4": ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, r"modelopt \(NVFP4\)"),
    "unheard-of": ({"quant_method": "unheard-of"}, "unheard-of"),
    "nameless": ({"bits": 8}, r"a method that it does not name \(8 bits\)"),
}
"""A ``quantization_config`` that is not computed, and how it is named."""
