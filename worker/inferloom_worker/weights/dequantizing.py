"""Weights that a folder stores as integers or float8 beside their scales, made numbers again."""

from collections.abc import Callable

import torch
from torch import Tensor

from inferloom_worker.weights.quantized import INSTEAD, Quantization, QuantizationError

Find = Callable[[str], Tensor | None]
"""Looks up a stored tensor by its full name in the files."""

PLAIN_TYPES = frozenset({torch.float64, torch.float32, torch.float16, torch.bfloat16})
"""Types of tensors that are weights as they stand."""


def dequantized(how: Quantization, name: str, stored: Tensor, find: Find) -> Tensor:
    """The numbers of a matrix, float32.

    Args:
        name: Its name in the files, ``….weight``.
        stored: What is stored under it.
        find: Finds what is stored beside it.

    Raises:
        QuantizationError: Its scale is missing or of another shape, or it is packed.
    """
    stem = name.removesuffix("weight")
    scale = find(stem + how.scale)
    if scale is None or stored.ndim != 2 or stored.dtype is torch.uint8:
        raise QuantizationError(
            f"{name} is stored as {spelled(stored)} in a form of {how.method} that is not computed; {INSTEAD}"
        )
    if (layout := find(stem + "weight_format")) is not None and int(layout) != 0:
        raise QuantizationError(f"{name} is tiled for a GPU (weight_format {int(layout)}); {INSTEAD}")
    values = stored.float()
    if (zero := find(stem + "weight_zero_point")) is not None:
        values = values - _spread(how, name, zero, stored)
    return values * (_spread(how, name, scale, stored) * how.factor)


def _spread(how: Quantization, name: str, scale: Tensor, stored: Tensor) -> Tensor:
    """One number for each weight, from one for all, for each row, or for each block."""
    rows, columns = stored.shape
    scale = scale.float()
    if scale.numel() == 1:
        return scale.reshape(1, 1)
    if scale.shape in ((rows,), (rows, 1)):
        return scale.reshape(rows, 1)
    if scale.ndim == 2:
        if how.block is not None:
            high, wide = how.block
        else:  # groups of a row's columns
            high, wide = 1, columns // scale.shape[1] if columns % scale.shape[1] == 0 else 0
        if wide and scale.shape == (-(-rows // high), -(-columns // wide)):
            return scale.repeat_interleave(high, 0)[:rows].repeat_interleave(wide, 1)[:, :columns]
    raise QuantizationError(
        f"{name} is {list(stored.shape)} and its scale {list(scale.shape)}, which do not go together"
    )


def spelled(tensor: Tensor) -> str:
    """A tensor's type and shape, for messages."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
