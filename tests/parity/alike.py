"""When two answers of one worker say the same."""

import math
from typing import Any

ROUNDING = 1e-4
"""What a log-probability or a vector's number may differ by from call to call: sums of float32 come out
otherwise where a library cuts them otherwise, which depends on the processor, on a buffer's place in memory
and on the other rows of a step. A field that has an effect changes more."""


def alike(one: Any, other: Any) -> bool:
    """Whether two trees of dictionaries, lists, tuples and values are equal, floats within ``ROUNDING``."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=0, abs_tol=ROUNDING)
    return bool(one == other)
