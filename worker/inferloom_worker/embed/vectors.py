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


def pack(rows: NDArray[np.float32]) -> list[bytes]:
    """Each row as packed little-endian float32 numbers."""
    packed = rows.astype("<f4").tobytes()
    size = 4 * rows.shape[1]
    return [packed[start : start + size] for start in range(0, len(packed), size)]
