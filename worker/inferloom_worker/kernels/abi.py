"""What this side of the kernels and the C++ side must agree on, checked when a library is loaded.

The orders below are those of enumerations and lists in ``src``; the library describes its own in the same
words (``abi.h``), and :func:`expected` puts ours in them.
"""

import ctypes as c

import numpy as np

from inferloom_worker.weights.groups import GROUP, Kind

VERSION = 5
"""Of the functions, as in ``abi.h``."""
TILE = 16
"""Outputs that the kernels compute side by side; matrices are padded to whole tiles."""
BLOCK = 16
"""Tokens of one block of the cache."""

ACTIVATIONS = ("silu", "gelu_tanh")
PROJECTIONS = ("qkv", "output", "gate_up", "down")
POOLINGS = ("mean", "cls", "lasttoken")
MATRICES = ("q", "k", "v", "output", "gate", "up", "down")
VECTORS = (
    *("input_norm", "attention_post_norm", "mlp_norm", "mlp_post_norm", "q_norm", "k_norm"),
    *("qkv_bias", "output_bias", "gate_bias", "up_bias", "down_bias"),
)
ENCODER_MATRICES = ("q", "k", "v", "output", "up", "down")
ENCODER_VECTORS = (
    *("qkv_bias", "output_bias", "norm1", "norm1_bias", "up_bias", "down_bias", "norm2", "norm2_bias"),
)


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


class Step(c.Structure):
    """``Step`` in decoder.h."""

    _fields_ = (
        *((name, c.c_int32) for name in ("rows", "spans", "samples", "block_count")),
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


class EncoderShape(c.Structure):
    """``EncoderShape`` in encoder.h."""

    _fields_ = (
        *((name, c.c_int32) for name in ("layers", "hidden", "heads", "intermediate", "vocab", "positions")),
        *((name, c.c_int32) for name in ("segments", "pooling")),
        ("norm_eps", c.c_float),
    )


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


def expected() -> str:
    """What a library that fits says of itself."""
    layouts = [_layout(structure) for structure in (Shape, Rope, LayerShape, Step)]
    assert FILTER.fields is not None
    offsets = {name: FILTER.fields[name][1] for name in FILTER.names or ()}
    orders = {
        "kinds": tuple(kind.name.lower() for kind in Kind),
        "activations": ACTIVATIONS,
        "projections": PROJECTIONS,
        "poolings": POOLINGS,
        "matrices": MATRICES,
        "vectors": VECTORS,
        "encoder_matrices": ENCODER_MATRICES,
        "encoder_vectors": ENCODER_VECTORS,
    }
    return "\n".join(
        (
            f"version {VERSION}",
            f"tile {TILE}",
            f"group {GROUP}",
            f"block {BLOCK}",
            *layouts,
            _line("Filter", {**offsets, "": FILTER.itemsize}),
            _layout(EncoderShape),
            *(_line(name, {value: at for at, value in enumerate(values)}) for name, values in orders.items()),
            "",
        )
    )


def _layout(structure: type[c.Structure]) -> str:
    offsets = {field[0]: getattr(structure, field[0]).offset for field in structure._fields_}
    return _line(structure.__name__, {**offsets, "": c.sizeof(structure)})


def _line(name: str, values: dict[str, int]) -> str:
    return " ".join((name, *(f"{key}:{value}" for key, value in values.items())))
