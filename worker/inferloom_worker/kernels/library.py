"""The kernel library through ctypes. Calls release the GIL while they compute."""

import ctypes as c
import os
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferloom_worker.engine.health import MemorySuspectError
from inferloom_worker.kernels import abi
from inferloom_worker.kernels.build import VARIANTS
from inferloom_worker.kernels.kept import library_path

_NO_MEMORY, _BROKEN = 1, 3
"""``kNoMemory`` and ``kBroken`` in api.cpp."""
_FLAGS = Path("/proc/cpuinfo")
_BF16 = "avx512_bf16"
_WITH_BF16 = {"avx512": "avx512_bf16"}
"""Of the variants, those that multiply pairs of bfloat16 numbers where that is an instruction: ``dots_bf16``
in product_vnni.h. Activations are rounded for it."""
_LINUX_NAMES = {"avx512vnni": "avx512_vnni"}
"""What Linux calls an extension, where it is not what compilers call it."""


class KernelError(ValueError):
    """The kernels refused what they were asked to do, or a library does not fit; the message says why."""


class KernelFaultError(MemorySuspectError):
    """The kernels failed while they computed, by an exception that they never throw themselves."""


@cache
def library() -> Any | None:
    """The fastest library that this processor can run, or None where there is none or it was not built.
    ``IL_KERNEL_LIBRARY`` in the environment names another file instead, which checks of the kernels use."""
    if chosen := os.environ.get("IL_KERNEL_LIBRARY"):
        return load(Path(chosen))
    found = _variant()
    return load(library_path(found)) if found else None


@cache
def built_from() -> str:
    """What stands for the sources and flags that :func:`library` was built from, in its own words
    (:func:`~inferloom_worker.kernels.build.mark`), or for its file where it does not say. Empty where there
    is no library."""
    loaded = library()
    return "" if loaded is None else told_by(loaded)


def told_by(loaded: Any) -> str:
    """As :func:`built_from`, of a library that was loaded."""
    mark = getattr(loaded, "il_built_from", None)
    if mark is not None:
        mark.restype = c.c_char_p
    found = b"" if mark is None else mark()
    return found.decode() or f"file {sha256(Path(loaded._name).read_bytes()).hexdigest()[:16]}"


def instruction_set() -> str:
    """What :func:`library` computes with, such as ``avx512``; empty where there is none. A library that takes
    other instructions where a processor has them has another name there."""
    variant = _variant()
    return _WITH_BF16.get(variant, variant) if _BF16 in _processor() else variant


def _variant() -> str:
    return next((variant for variant in VARIANTS if can_run(variant)), "")


def load(path: Path) -> Any:
    """Load a library, declare its functions, and check that it was built from this side's sources.

    Its functions raise MemoryError where memory is lacking, KernelError for sizes and places that are not
    there, before anything is computed, and KernelFaultError for all else.

    Raises:
        KernelError: It was built from other sources.
    """
    loaded = c.CDLL(str(path))
    described = getattr(loaded, "il_abi", None)
    if described is not None:
        described.restype = c.c_char_p
    found = "" if described is None else described().decode()
    if found != abi.expected():
        raise KernelError(
            f"{path.name} was built from other sources; build it again: "
            "python -m inferloom_worker.kernels.build"
        )
    loaded.il_error.restype = c.c_char_p
    pointer, integer = c.c_void_p, c.c_int
    plain: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "il_destroy": (None, (pointer,)),
        "il_holds": (integer, (integer,)),
        "il_failure": (integer, ()),
        "il_adapter_destroy": (None, (pointer,)),
        "il_weight_bytes": (c.c_longlong, (pointer,)),
        "il_encoder_destroy": (None, (pointer,)),
    }
    makers: dict[str, tuple[Any, ...]] = {
        "il_create": (c.POINTER(abi.Shape), pointer, pointer, integer, integer),
        "il_decoder_matrix": (pointer, integer, integer),
        "il_encoder_matrix": (pointer, integer, integer),
        "il_adapter_create": (pointer,),
        "il_encoder_create": (c.POINTER(abi.EncoderShape), integer),
    }
    doers: dict[str, tuple[Any, ...]] = {
        "il_allocate": (pointer, integer),
        "il_set_vector": (pointer, integer, integer, pointer, integer),
        "il_make_matrix": (pointer, integer, integer, integer),
        "il_fill_groups": (pointer, integer, integer, pointer, pointer, pointer),
        "il_fill_q12": (pointer, integer, integer, pointer, pointer),
        "il_fill_bf16": (pointer, integer, integer, pointer),
        "il_adapter_change": (pointer, integer, integer, integer, integer, pointer),
        "il_adapter_part": (pointer, *[integer] * 6, pointer),
        "il_forward": (pointer, c.POINTER(abi.Step), pointer),
        "il_hidden": (pointer, c.POINTER(abi.Step), pointer),
        "il_argmax": (pointer, pointer, integer, integer, integer, pointer, pointer),
        "il_draw": (pointer, pointer, integer, integer, integer, pointer, pointer, pointer),
        "il_encoder_vector": (pointer, integer, integer, pointer, c.c_longlong),
        "il_encoder_forward": (pointer, integer, pointer, pointer, pointer, pointer),
    }

    def failure(code: int) -> Exception:
        words = loaded.il_error().decode(errors="replace")
        kinds: dict[int, type[Exception]] = {_NO_MEMORY: MemoryError, _BROKEN: KernelFaultError}
        return kinds.get(code, KernelError)(words)

    def made(result: int | None, function: Any, arguments: Any) -> int:
        if not result:
            raise failure(loaded.il_failure())
        return result

    def done(result: int, function: Any, arguments: Any) -> None:
        if result:
            raise failure(result)

    for name, (result, arguments) in plain.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    for names, result, check in ((makers, pointer, made), (doers, integer, done)):
        for name, arguments in names.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes, function.errcheck = result, arguments, check
    return loaded


def can_run(variant: str) -> bool:
    """Whether a library was built, and this processor has what it needs."""
    return suits(variant) and library_path(variant).exists()


def suits(variant: str) -> bool:
    """Whether this processor can run a variant, built or not."""
    return {_LINUX_NAMES.get(name, name) for name in VARIANTS[variant]} <= _processor()


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
