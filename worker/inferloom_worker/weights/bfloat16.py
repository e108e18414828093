"""Matrices whose weights are bfloat16."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Bfloat16:
    """A matrix of R rows and C columns; ``values`` holds the bits, uint16 [R, C]."""

    values: NDArray[np.uint16]

    @property
    def shape(self) -> tuple[int, int]:
        """R and C."""
        rows, columns = self.values.shape
        return rows, columns

    @property
    def nbytes(self) -> int:
        """Bytes of all weights."""
        return self.values.nbytes

    def dequantized(self) -> NDArray[np.float32]:
        """The weights, float32 [R, C]."""
        return (self.values.astype(np.uint32) << 16).view(np.float32)

    def rows(self, order: NDArray[np.int64]) -> "Bfloat16":
        """The matrix with its rows in another order."""
        return Bfloat16(self.values[order])

    def zeros(self, count: int) -> "Bfloat16":
        """A matrix of ``count`` rows that are all 0."""
        return Bfloat16(np.zeros((count, self.shape[1]), np.uint16))


def round_bfloat16(weights: NDArray[np.float32]) -> Bfloat16:
    """Round to the nearest bfloat16, ties to even; what is bfloat16 already, or NaN, stays as it is."""
    bits = weights.view(np.uint32)
    values = np.empty(weights.shape, np.uint16)
    # Some rows at a time, which the processor's cache holds from one step to the next.
    step = max(1, (1 << 15) // weights.shape[1])
    for start in range(0, len(weights), step):
        rows = bits[start : start + step]
        values[start : start + step] = (rows + (((rows >> 16) & 1) + 0x7FFF)) >> 16
        strange = np.isnan(weights[start : start + step])
        if strange.any():
            values[start : start + step][strange] = 0x7FC0
    return Bfloat16(values)
