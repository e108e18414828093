"""Which folders have weights as integers or float8 beside their scales, and how these go together.

``quantization_config`` in ``config.json`` says how. Only methods whose weights are ``scale · (q − zero)`` are
read, by the layouts that transformers, compressed-tensors, bitsandbytes and ModelOpt write; products are then
computed with the numbers that the folder stands for, without rounding activations as those libraries may. Any
other method is refused by name: to take its integers for weights would give answers that only look like some.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inferloom_worker.sourcing.json_files import read_object
from inferloom_worker.weights.safetensors_files import open_safetensors

INSTEAD = "use the unquantised model or a GGUF file"

_PLAIN_NAMES = frozenset({"F64", "F32", "F16", "BF16"})
"""Types of tensors that are weights as they stand, as safetensors spells them."""

_COMPRESSED_FORMATS = frozenset(
    {"dense", "float-quantized", "int-quantized", "naive-quantized", "mixed-precision"}
)


class QuantizationError(ValueError):
    """The weights are quantised in a way that is not computed; the message says how, and what to use."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """How a folder's weights are quantised."""

    method: str
    scale: str
    """What the scale of ``NAME.weight`` is called: ``NAME.{scale}``."""
    factor: float = 1.0
    """On every scale."""
    block: tuple[int, int] | None = None
    """Rows and columns that share a scale, where the scale is a matrix of blocks."""


def read_quantization(config: Mapping[str, Any], name: str) -> Quantization | None:
    """How the weights of a model with this ``config.json`` are quantised; None: not at all.

    Args:
        config: The file.
        name: The model's, for messages.

    Raises:
        QuantizationError: They are quantised in a way that is not computed.
    """
    given = quantization_config(config)
    if given is None:
        return None
    method = str(given.get("quant_method") or "a method that it does not name")
    reader = _READERS.get(method)
    found = None if reader is None else reader(given)
    if found is None:
        raise QuantizationError(
            f"{name} is quantised with {_title(method, given)}, which is not computed; {INSTEAD}"
        )
    return found


def refuse_quantized(folder: Path) -> None:
    """Make sure that a folder's weights are numbers as they stand, for code that would take integers for
    numbers. Looks into the folders of sentence-transformers' modules, too.

    Raises:
        QuantizationError: They are not.
        CheckpointError, OSError, ValueError: A file cannot be read.
    """
    for place in (folder, *(config.parent for config in sorted(folder.glob("*/config.json")))):
        given = quantization_config(read_object(place / "config.json"))
        if given is not None:
            method = str(given.get("quant_method") or "a method that it does not name")
            raise QuantizationError(
                f"{folder.name} is quantised with {_title(method, given)}, "
                f"which is not computed for models of its kind; {INSTEAD}"
            )
        for path in sorted(place.glob("*.safetensors")):
            with open_safetensors(path, "np") as file:
                for name in file.keys():  # noqa: SIM118 # no dict
                    kind = file.get_slice(name).get_dtype() if name.endswith("weight") else "F32"
                    if kind not in _PLAIN_NAMES:
                        raise QuantizationError(
                            f"{name} in {path.name} is stored as {kind}, which is no weight as it stands; "
                            f"{INSTEAD}"
                        )


def quantization_config(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The ``quantization_config`` of a config or of its decoder's; None: the weights are not quantised."""
    for place in (config, config.get("text_config")):
        given = place.get("quantization_config") if isinstance(place, Mapping) else None
        if isinstance(given, Mapping) and given:
            return given
    return None


def _fp8(given: Mapping[str, Any]) -> Quantization | None:
    """transformers' fine-grained FP8, the form of DeepSeek and Qwen."""
    size = given.get("weight_block_size")
    if size is None:
        return Quantization("fp8", "weight_scale_inv")
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)):
        return None
    return Quantization("fp8", "weight_scale_inv", block=(size[0], size[1]))


def _compressed(given: Mapping[str, Any]) -> Quantization | None:
    """Eight bits in one tensor; packed and sparse formats, and weights that were rotated, are others."""
    groups = given.get("config_groups")
    sparsity = given.get("sparsity_config")
    if not isinstance(groups, Mapping) or given.get("transform_config"):
        return None
    if isinstance(sparsity, Mapping) and sparsity.get("format", "dense") != "dense":
        return None
    blocks: set[tuple[int, int] | None] = set()
    for group in groups.values():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if weights is None:
            continue
        if group.get("format", given.get("format", "dense")) not in _COMPRESSED_FORMATS:
            return None
        if weights.get("num_bits") != 8 or weights.get("actorder") not in (None, False, "weight", "static"):
            return None
        if weights.get("strategy") not in ("tensor", "channel", "group", "block"):
            return None
        if weights.get("strategy") == "block":
            size = weights.get("block_structure")
            if not (isinstance(size, list) and len(size) == 2):
                return None
            blocks.add((int(size[0]), int(size[1])))
        else:
            blocks.add(None)
    if len(blocks) > 1:
        return None
    return Quantization("compressed-tensors", "weight_scale", block=next(iter(blocks), None))


def _bitsandbytes(given: Mapping[str, Any]) -> Quantization | None:
    """LLM.int8(): the scale is each row's greatest magnitude, which 127 stands for."""
    if given.get("load_in_4bit") or not given.get("load_in_8bit"):
        return None
    return Quantization("bitsandbytes", "SCB", factor=1 / 127)


def _fbgemm(given: Mapping[str, Any]) -> Quantization | None:
    return Quantization("fbgemm_fp8", "weight_scale")


def _modelopt(given: Mapping[str, Any]) -> Quantization | None:
    return Quantization("modelopt", "weight_scale") if given.get("quant_algo") == "FP8" else None


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Quantization | None]] = {
    "fp8": _fp8,
    "compressed-tensors": _compressed,
    "bitsandbytes": _bitsandbytes,
    "fbgemm_fp8": _fbgemm,
    "modelopt": _modelopt,
}


def _title(method: str, given: Mapping[str, Any]) -> str:
    """The method, and which of its forms, in the config's own words."""
    more = [str(given[key]) for key in ("format", "quant_algo") if given.get(key)]
    if given.get("load_in_4bit"):
        more.append("4 bits")
    elif isinstance(bits := given.get("bits", given.get("w_bit")), int):
        more.append(f"{bits} bits")
    return f"{method} ({', '.join(more)})" if more else method
