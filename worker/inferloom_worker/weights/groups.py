"""Quantised weights as integers with a scale and an offset per group, without any loss.

A weight is ``scale · q + offset``. Each GGUF type below is exactly of this form, so kernels can compute with
the file's own numbers. Layouts: the type definitions in ggml (``block_q4_0`` and so on).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType as Type
from numpy.typing import NDArray

from inferloom_worker.weights.gguf import GgufTensor

GROUP = 32


class Kind(IntEnum):
    """How the kernels store a matrix; the values are those of ``Kind`` in weights.h."""

    Q4 = 0
    """4 bits, float16 scale and offset per 32."""
    Q4F = 1
    """4 bits, float32 scale and offset per 32."""
    Q8 = 2
    """8 bits, float16 scale per 32."""
    Q8F = 3
    """8 bits, float32 scale per 16."""
    BF16 = 4
    """bfloat16; no groups, see :class:`~inferloom_worker.weights.bfloat16.Bfloat16`."""
    Q12 = 5
    """12 bits in 16, float32 scale per 32."""


@dataclass(frozen=True, slots=True)
class Groups:
    """A matrix of R rows and C columns, C a multiple of 32.

    ``q`` is [R, C], int16 in ``Q12`` and int8 in all others, 0 … 15 in the 4-bit kinds. ``scales`` is
    float32 [R, C / 32], or [R, C / 16] for ``Q8F``. ``offsets`` is float32 [R, C / 32] in the 4-bit kinds and
    None in the others, whose offset is 0.
    """

    kind: Kind
    q: NDArray[np.int8] | NDArray[np.int16]
    scales: NDArray[np.float32]
    offsets: NDArray[np.float32] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """R and C."""
        rows, columns = self.q.shape
        return rows, columns

    @property
    def nbytes(self) -> int:
        """Bytes of all integers, scales and offsets."""
        offsets = 0 if self.offsets is None else self.offsets.nbytes
        return self.q.nbytes + self.scales.nbytes + offsets

    def dequantized(self) -> NDArray[np.float32]:
        """The weights, float32 [R, C]."""
        width = GROUP // 2 if self.kind is Kind.Q8F else GROUP
        values = self.q.astype(np.float32) * self.scales.repeat(width, axis=1)
        if self.offsets is not None:
            values += self.offsets.repeat(GROUP, axis=1)
        return values

    def rows(self, order: NDArray[np.int64]) -> "Groups":
        """The matrix with its rows in another order."""
        offsets = None if self.offsets is None else self.offsets[order]
        return Groups(self.kind, self.q[order], self.scales[order], offsets)

    def zeros(self, count: int) -> "Groups":
        """A matrix of the kind with ``count`` rows that are all 0."""

        def blank(array: NDArray[Any]) -> NDArray[Any]:
            return np.zeros((count, array.shape[1]), array.dtype)

        offsets = None if self.offsets is None else blank(self.offsets)
        return Groups(self.kind, blank(self.q), blank(self.scales), offsets)


def can_read(tensor: GgufTensor) -> bool:
    """Whether a GGUF tensor is a matrix of a type that the kernels compute."""
    return tensor.type in _READERS and len(tensor.shape) == 2 and tensor.shape[1] % GROUP == 0


def read_groups(tensor: GgufTensor) -> Groups:
    """The groups of a GGUF matrix. Only after :func:`can_read` said so."""
    assert can_read(tensor)
    return _READERS[tensor.type](tensor.data.reshape(tensor.shape[0], -1))


def quantize_int8(weights: NDArray[np.float32]) -> Groups:
    """Round to 8 bits, symmetric per group of 32, as Q8_0 does."""
    grouped = weights.reshape(len(weights), -1, GROUP)
    scales = (np.abs(grouped).max(-1) / 127).astype(np.float16).astype(np.float32)
    safe = np.where(scales > 0, scales, 1.0)[..., None]
    q = np.clip(np.rint(grouped / safe), -127, 127).astype(np.int8)
    return Groups(Kind.Q8, q.reshape(weights.shape), scales)


def quantize_int12(weights: NDArray[np.float32]) -> Groups:
    """Round to 12 bits, symmetric per group of 32: finer than bfloat16 for the weights that count."""
    grouped = weights.reshape(len(weights), -1, GROUP)
    scales = np.abs(grouped).max(-1) / 2047
    safe = np.where(scales > 0, scales, 1.0)[..., None]
    q = np.rint(grouped / safe).astype(np.int16)
    return Groups(Kind.Q12, q.reshape(weights.shape), scales)


def quantize_int4(weights: NDArray[np.float32]) -> Groups:
    """Round to 4 bits between each group's least and greatest weight, as Q4_1 does."""
    grouped = weights.reshape(len(weights), -1, GROUP)
    low, high = grouped.min(-1), grouped.max(-1)
    scales = ((high - low) / 15).astype(np.float16).astype(np.float32)
    offsets = low.astype(np.float16).astype(np.float32)
    safe = np.where(scales > 0, scales, 1.0)[..., None]
    q = np.clip(np.rint((grouped - offsets[..., None]) / safe), 0, 15).astype(np.int8)
    return Groups(Kind.Q4, q.reshape(weights.shape), scales, offsets)


Raw = NDArray[np.uint8]


def _f16(raw: Raw) -> NDArray[np.float32]:
    return np.ascontiguousarray(raw).view(np.float16)[..., 0].astype(np.float32)


def _nibbles(raw: Raw) -> NDArray[np.int8]:
    """Sixteen bytes to 32 values: the low halves first, then the high ones. [R, G, 16] → [R, G · 32]."""
    both = np.concatenate((raw & 15, raw >> 4), axis=-1)
    return both.reshape(len(raw), -1).view(np.int8)


def _q4_0(raw: Raw) -> Groups:
    blocks = raw.reshape(len(raw), -1, 18)
    scales = _f16(blocks[..., :2])
    return Groups(Kind.Q4, _nibbles(blocks[..., 2:]), scales, -8 * scales)


def _q4_1(raw: Raw) -> Groups:
    blocks = raw.reshape(len(raw), -1, 20)
    return Groups(Kind.Q4, _nibbles(blocks[..., 4:]), _f16(blocks[..., :2]), _f16(blocks[..., 2:4]))


def _q8_0(raw: Raw) -> Groups:
    blocks = raw.reshape(len(raw), -1, 34)
    q = np.ascontiguousarray(blocks[..., 2:]).view(np.int8).reshape(len(raw), -1)
    return Groups(Kind.Q8, q, _f16(blocks[..., :2]))


def _q4_k(raw: Raw) -> Groups:
    """Super-blocks of 256: two float16, twelve bytes of 6-bit scales and minima, 128 bytes of nibbles."""
    blocks = raw.reshape(len(raw), -1, 144)
    d, least = _f16(blocks[..., :2]), _f16(blocks[..., 2:4])
    packed = blocks[..., 4:16].reshape(*blocks.shape[:2], 3, 4)
    a, b, c = packed[..., 0, :], packed[..., 1, :], packed[..., 2, :]
    scale = np.concatenate((a & 63, (c & 15) | ((a >> 6) << 4)), axis=-1)  # [R, B, 8]
    minimum = np.concatenate((b & 63, (c >> 4) | ((b >> 6) << 4)), axis=-1)
    nibbles = blocks[..., 16:].reshape(*blocks.shape[:2], 4, 1, 32)
    q = np.concatenate((nibbles & 15, nibbles >> 4), axis=-2)  # [R, B, 4, 2, 32]
    return Groups(
        Kind.Q4F,
        q.reshape(len(raw), -1).view(np.int8),
        (d[..., None] * scale.astype(np.float32)).reshape(len(raw), -1),
        (-least[..., None] * minimum.astype(np.float32)).reshape(len(raw), -1),
    )


def _q6_k(raw: Raw) -> Groups:
    """Super-blocks of 256: 128 bytes of low nibbles, 64 of high pairs, 16 int8 scales, one float16."""
    blocks = raw.reshape(len(raw), -1, 210)
    nibbles = blocks[..., :128].reshape(*blocks.shape[:2], 2, 1, 64)
    low = np.concatenate((nibbles & 15, nibbles >> 4), axis=-2).reshape(*blocks.shape[:2], 2, 4, 32)
    pairs = blocks[..., 128:192].reshape(*blocks.shape[:2], 2, 1, 32)
    high = np.concatenate([(pairs >> shift) & 3 for shift in (0, 2, 4, 6)], axis=-2)
    q = (low | (high << 4)).astype(np.int8) - np.int8(32)
    scales = np.ascontiguousarray(blocks[..., 192:208]).view(np.int8).astype(np.float32)
    d = _f16(blocks[..., 208:])
    return Groups(Kind.Q8F, q.reshape(len(raw), -1), (d[..., None] * scales).reshape(len(raw), -1))


_READERS = {Type.Q4_0: _q4_0, Type.Q4_1: _q4_1, Type.Q8_0: _q8_0, Type.Q4_K: _q4_k, Type.Q6_K: _q6_k}
