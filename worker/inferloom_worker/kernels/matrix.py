"""Handing weight matrices over to the kernels."""

from typing import Any

import numpy as np

from inferloom_worker.kernels.abi import TILE
from inferloom_worker.kernels.library import address
from inferloom_worker.weights.bfloat16 import Bfloat16
from inferloom_worker.weights.groups import Kind
from inferloom_worker.weights.matrix import Matrix


def padded(rows: int) -> int:
    """``rows`` rounded up to whole tiles."""
    return -(-rows // TILE) * TILE


def put_matrix(library: Any, place: int, matrix: Matrix) -> None:
    """Write a matrix to where the library keeps it, with rows of zeros up to whole tiles.

    Args:
        library: The loaded kernels.
        place: What ``il_decoder_matrix`` or ``il_encoder_matrix`` gave.
        matrix: Weights [rows, columns].
    """
    rows, columns = matrix.shape
    kind = Kind.BF16 if isinstance(matrix, Bfloat16) else matrix.kind
    library.il_make_matrix(place, kind.value, padded(rows), columns)
    _fill(library, place, 0, matrix)
    if padded(rows) > rows:
        _fill(library, place, rows, matrix.zeros(padded(rows) - rows))


def _fill(library: Any, place: int, first: int, part: Matrix) -> None:
    if isinstance(part, Bfloat16):
        values = np.ascontiguousarray(part.values)
        library.il_fill_bf16(place, first, len(values), address(values))
        return
    q, scales = np.ascontiguousarray(part.q), np.ascontiguousarray(part.scales)
    if part.kind is Kind.Q12:
        library.il_fill_q12(place, first, len(q), address(q), address(scales))
        return
    offsets = None if part.offsets is None else np.ascontiguousarray(part.offsets)
    library.il_fill_groups(place, first, len(q), address(q), address(scales), address(offsets))
