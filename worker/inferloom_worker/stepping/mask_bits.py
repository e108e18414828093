"""Masks of tokens as torch reads them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_POWERS = (1, 2, 4, 8, 16, 32, 64, 128)


def barred_by(masks: NDArray[np.int32], width: int, device: torch.device) -> Tensor:
    """The tokens that masks [M, words] do not have, bool [M, width]."""
    as_bytes = masks.view(np.uint8)
    if device.type == "cpu":
        return torch.from_numpy(np.unpackbits(as_bytes, axis=1, bitorder="little", count=width) == 0)
    return unpacked(torch.from_numpy(as_bytes).to(device), width) == 0


def unpacked(as_bytes: Tensor, width: int) -> Tensor:
    """The first ``width`` bits of rows of bytes [M, bytes], the lowest of each first; 0 where one is not set.

    For devices, to which an eighth of them is copied that way; numpy is faster on a CPU.
    """
    powers = torch.tensor(_POWERS, dtype=torch.uint8, device=as_bytes.device)
    return (as_bytes[:, :, None] & powers).flatten(1)[:, :width]
