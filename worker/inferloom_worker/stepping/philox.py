"""A counter-based random stream: draws depend on (seed, choice, position) and on nothing else.

Philox4x32-10 from Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). A resumed or
re-batched sequence draws the same numbers, because there is no state to lose.
"""

import numpy as np
from numpy.typing import NDArray

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)
_ROUNDS = 10
_FEW = 16
"""Rows up to which Python's own numbers are faster: numpy takes as long for one row as for hundreds."""

Words = NDArray[np.uint64]


def philox4x32(counter: tuple[Words, Words, Words, Words], key: tuple[Words, Words]) -> tuple[Words, ...]:
    """The generator itself, elementwise over arrays of 32-bit words held in 64 bits."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (p1 >> _SHIFT) ^ c1 ^ k0, p1 & _LOW, (p0 >> _SHIFT) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return c0, c1, c2, c3


def uniforms(seeds: list[int], choices: list[int], positions: list[int]) -> NDArray[np.float64]:
    """One number in [0, 1) per row, with 53 random bits.

    Args:
        seeds: 64-bit seeds, one per row.
        choices: Choice indices, one per row.
        positions: Places of the drawn tokens in their choices, one per row.
    """
    if len(seeds) <= _FEW:
        return np.array([_uniform(*each) for each in zip(seeds, choices, positions, strict=True)])
    seed = np.array(seeds, dtype=np.uint64)
    zero = np.zeros_like(seed)
    counter = (np.array(positions, dtype=np.uint64), np.array(choices, dtype=np.uint64), zero, zero)
    high, low, *_ = philox4x32(counter, (seed & _LOW, seed >> _SHIFT))
    bits = (high << np.uint64(21)) | (low >> np.uint64(11))
    result: NDArray[np.float64] = bits.astype(np.float64) * 2.0**-53
    return result


def _uniform(seed: int, choice: int, position: int) -> float:
    """The number of one row, by the same arithmetic as :func:`philox4x32`."""
    c0, c1, c2, c3 = position, choice, 0, 0
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(_ROUNDS):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1 = (p1 >> 32) ^ c1 ^ k0, p1 & 0xFFFFFFFF
        c2, c3 = (p0 >> 32) ^ c3 ^ k1, p0 & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return float((c0 << 21) | (c1 >> 11)) * 2.0**-53
