"""The last steps from an encoder's output to the vectors that leave. Pure."""

import numpy as np
from numpy.typing import NDArray


def finish(vectors: NDArray[np.float32], *, dimensions: int, normalize: bool) -> NDArray[np.float32]:
    """Cut rows to ``dimensions`` numbers and scale them to unit length if asked; a zero row stays zero."""
    cut = vectors[:, :dimensions]
    if not normalize:
        return cut
    lengths = np.linalg.norm(cut, axis=1, keepdims=True)
    unit: NDArray[np.float32] = cut / np.maximum(lengths, np.float32(1e-12))
    return unit


def pack(row: NDArray[np.float32]) -> bytes:
    """A row as packed little-endian float32 numbers."""
    return row.astype("<f4").tobytes()
