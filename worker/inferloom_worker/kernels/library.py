"""The kernel library through ctypes. Calls release the interpreter's lock while they compute."""

import ctypes as c
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferloom_worker.kernels.build import VARIANTS, library_path

_FLAGS = Path("/proc/cpuinfo")
_LINUX_NAMES = {"avx512vnni": "avx512_vnni"}
"""What Linux calls an extension, where it is not what compilers call it."""


class Shape(c.Structure):
    """``Shape`` in decoder.h."""

    _fields_ = (
        *(
            (name, c.c_int32)
            for name in ("layers", "hidden", "heads", "kv_heads", "head_dim", "intermediate")
        ),
        ("vocab", c.c_int32),
        ("activation", c.c_int32),
        *((name, c.c_float) for name in ("norm_eps", "embedding_scale", "attention_scale")),
        *((name, c.c_float) for name in ("attention_softcap", "final_softcap")),
    )


class Rope(c.Structure):
    """``Rope`` in decoder.h."""

    _fields_ = (("frequencies", c.c_void_p), ("pairs", c.c_int32), ("scale", c.c_float))


class LayerShape(c.Structure):
    """``LayerShape`` in decoder.h."""

    _fields_ = (("window", c.c_int32), ("rope", c.c_int32))


FILTER = np.dtype(
    [
        ("temperature", np.float32),
        ("top_p", np.float32),
        ("min_p", np.float32),
        ("top_k", np.int32),
        ("u", np.float64),
    ],
    align=True,
)
"""``Filter`` in sampler.h."""


class EncoderShape(c.Structure):
    """``EncoderShape`` in encoder.h."""

    _fields_ = (
        *((name, c.c_int32) for name in ("layers", "hidden", "heads", "intermediate", "vocab", "positions")),
        ("pooling", c.c_int32),
        ("norm_eps", c.c_float),
    )


class Step(c.Structure):
    """``Step`` in decoder.h."""

    _fields_ = (
        *((name, c.c_int32) for name in ("rows", "spans", "samples")),
        *(
            (name, c.c_void_p)
            for name in (
                "tokens",
                "positions",
                "span_start",
                "span_count",
                "span_blocks",
                "blocks",
                "sample_rows",
                "span_adapters",
            )
        ),
    )


@cache
def library() -> Any | None:
    """The fastest library that this processor can run, or None where there is none or it was not built.
    ``IL_KERNEL_LIBRARY`` in the environment names another file instead, which checks of the kernels use."""
    if chosen := os.environ.get("IL_KERNEL_LIBRARY"):
        return load(Path(chosen))
    found = next((variant for variant in VARIANTS if _can_run(variant)), None)
    return None if found is None else load(library_path(found))


def load(path: Path) -> Any:
    """Load a library and declare its functions."""
    loaded = c.CDLL(str(path))
    pointer, integer = c.c_void_p, c.c_int
    signatures: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "il_create": (pointer, (c.POINTER(Shape), pointer, pointer, integer, integer)),
        "il_destroy": (None, (pointer,)),
        "il_allocate": (integer, (pointer, integer)),
        "il_set_vector": (None, (pointer, integer, integer, pointer, integer)),
        "il_decoder_matrix": (pointer, (pointer, integer, integer)),
        "il_encoder_matrix": (pointer, (pointer, integer, integer)),
        "il_make_matrix": (None, (pointer, integer, integer, integer)),
        "il_fill_groups": (None, (pointer, integer, integer, pointer, pointer, pointer)),
        "il_fill_q12": (None, (pointer, integer, integer, pointer, pointer)),
        "il_holds": (integer, (integer,)),
        "il_fill_bf16": (None, (pointer, integer, integer, pointer)),
        "il_adapter_create": (pointer, (pointer,)),
        "il_adapter_destroy": (None, (pointer,)),
        "il_adapter_change": (None, (pointer, integer, integer, integer, integer, pointer)),
        "il_adapter_part": (None, (pointer, *[integer] * 6, pointer)),
        "il_forward": (None, (pointer, c.POINTER(Step), pointer)),
        "il_hidden": (None, (pointer, c.POINTER(Step), pointer)),
        "il_argmax": (None, (pointer, pointer, integer, integer, integer, pointer)),
        "il_draw": (None, (pointer, pointer, integer, integer, integer, pointer, pointer)),
        "il_weight_bytes": (c.c_longlong, (pointer,)),
        "il_encoder_create": (pointer, (c.POINTER(EncoderShape), integer)),
        "il_encoder_destroy": (None, (pointer,)),
        "il_encoder_vector": (None, (pointer, integer, integer, pointer, c.c_longlong)),
        "il_encoder_forward": (None, (pointer, integer, pointer, pointer, pointer)),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


def _can_run(variant: str) -> bool:
    needed = {_LINUX_NAMES.get(name, name) for name in VARIANTS[variant]}
    return library_path(variant).exists() and needed <= _processor()


@cache
def _processor() -> frozenset[str]:
    """The processor's instruction set extensions, by the names that Linux has for them."""
    if not _FLAGS.exists():
        return frozenset()
    return frozenset(_FLAGS.read_text().split("flags", 1)[-1].split("\n", 1)[0].split())


def address(array: NDArray[Any] | None) -> int | None:
    """Where an array's data begins; the caller keeps the array alive and contiguous."""
    if array is None:
        return None
    assert array.flags.c_contiguous
    return array.ctypes.data


def int32(values: list[int]) -> NDArray[np.int32]:
    """A contiguous int32 array."""
    return np.array(values, dtype=np.int32)
