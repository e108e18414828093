"""The forms of a weight matrix that the kernels compute with."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from inferloom_worker.weights.bfloat16 import Bfloat16
from inferloom_worker.weights.groups import Groups

Matrix = Groups | Bfloat16

Rounding = Callable[[NDArray[np.float32]], Matrix]
"""Rounds a matrix [R, C]."""
