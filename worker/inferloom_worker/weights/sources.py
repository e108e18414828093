"""Weights for the kernels, by their transformers names."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inferloom_worker.weights.bfloat16 import Bfloat16
from inferloom_worker.weights.checkpoint import Checkpoint, GgufCheckpoint, gguf_name
from inferloom_worker.weights.gguf import GgufFile
from inferloom_worker.weights.groups import Groups, can_read, read_groups

Matrix = Groups | Bfloat16


class KernelSource(Protocol):
    """Where a kernel model reads its weights."""

    def has(self, name: str) -> bool:
        """Whether there is a tensor ``name``."""
        ...

    def matrix(self, name: str) -> Matrix:
        """The matrix ``name``, which exists."""
        ...

    def vector(self, name: str) -> NDArray[np.float32] | None:
        """The vector ``name``, or None if there is none."""
        ...


class GgufSource:
    """A GGUF file's own quantisation, unchanged."""

    def __init__(self, file: GgufFile) -> None:
        self.file = file
        self._checkpoint = GgufCheckpoint(file)

    def readable(self) -> bool:
        """Whether every matrix of the file has a type that the kernels compute."""
        return all(can_read(t) for t in self.file.tensors.values() if len(t.shape) > 1)

    def has(self, name: str) -> bool:
        """See the protocol."""
        return gguf_name(name) in self.file.tensors

    def matrix(self, name: str) -> Groups:
        """See the protocol."""
        groups = read_groups(self.file.tensors[gguf_name(name)])
        order = self._checkpoint.row_order(name, len(groups.q))
        return groups if order is None else groups.rows(order)

    def vector(self, name: str) -> NDArray[np.float32] | None:
        """See the protocol."""
        return _vector(self._checkpoint, name)


class RoundedSource:
    """Full-precision weights, rounded when they are read."""

    def __init__(self, checkpoint: Checkpoint, rounding: Callable[[NDArray[np.float32]], Matrix]) -> None:
        self._checkpoint = checkpoint
        self._rounding = rounding

    def has(self, name: str) -> bool:
        """See the protocol."""
        return self._checkpoint.find(name) is not None

    def matrix(self, name: str) -> Matrix:
        """See the protocol."""
        found = self._checkpoint.find(name)
        if found is None:
            raise ValueError(f"the weights have no tensor {name}")
        return self._rounding(found.float().numpy())

    def vector(self, name: str) -> NDArray[np.float32] | None:
        """See the protocol."""
        return _vector(self._checkpoint, name)


def _vector(checkpoint: Checkpoint, name: str) -> NDArray[np.float32] | None:
    found = checkpoint.find(name)
    return None if found is None else np.ascontiguousarray(found.float().numpy())
