"""Weights for the kernels, by their transformers names."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inferloom_worker.weights.bfloat16 import round_bfloat16
from inferloom_worker.weights.checkpoint import Checkpoint, GgufCheckpoint
from inferloom_worker.weights.gguf import GgufFile
from inferloom_worker.weights.groups import can_read, read_groups
from inferloom_worker.weights.matrix import Matrix, Rounding

_OF_VOCABULARY = ("model.embed_tokens.weight", "lm_head.weight")


class KernelSource(Protocol):
    """Where a kernel model reads its weights."""

    @property
    def checkpoint(self) -> Checkpoint:
        """The weights before they are rounded."""
        ...

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
    """A GGUF file's own quantisation, unchanged where the kernels compute it and in bfloat16 elsewhere."""

    def __init__(self, file: GgufFile) -> None:
        self.file = file
        self.checkpoint = GgufCheckpoint(file)
        self._rest = RoundedSource(self.checkpoint, round_bfloat16)

    def readable(self) -> bool:
        """Whether the file has a matrix in a quantisation that the kernels compute."""
        return any(can_read(tensor) for tensor in self.file.tensors.values())

    def rounded(self) -> list[str]:
        """Types of the file's matrices that are rounded to bfloat16."""
        matrices = (tensor for tensor in self.file.tensors.values() if len(tensor.shape) > 1)
        return sorted({tensor.type.name for tensor in matrices if not can_read(tensor)} - {"BF16"})

    def has(self, name: str) -> bool:
        return self.checkpoint.tensor(name) is not None

    def matrix(self, name: str) -> Matrix:
        tensor = self.checkpoint.tensor(name)
        if tensor is None or not can_read(tensor):
            return self._rest.matrix(name)
        groups = read_groups(tensor)
        order = self.checkpoint.row_order(name, len(groups.q))
        return groups if order is None else groups.rows(order)

    def vector(self, name: str) -> NDArray[np.float32] | None:
        return _vector(self.checkpoint, name)


class RoundedSource:
    """Full-precision weights, rounded when they are read.

    Args:
        checkpoint: The weights.
        rounding: Rounds a matrix.
        of_vocabulary: Rounds the embedding and the head. None: as the others.
    """

    def __init__(
        self, checkpoint: Checkpoint, rounding: Rounding, of_vocabulary: Rounding | None = None
    ) -> None:
        self.checkpoint = checkpoint
        self._rounding = rounding
        self._of_vocabulary = of_vocabulary or rounding

    def has(self, name: str) -> bool:
        return self.checkpoint.find(name) is not None

    def matrix(self, name: str) -> Matrix:
        found = self.checkpoint.find(name)
        if found is None:
            raise ValueError(f"the weights have no tensor {name}")
        rounding = self._of_vocabulary if name in _OF_VOCABULARY else self._rounding
        return rounding(found.float().numpy())

    def vector(self, name: str) -> NDArray[np.float32] | None:
        return _vector(self.checkpoint, name)


def _vector(checkpoint: Checkpoint, name: str) -> NDArray[np.float32] | None:
    found = checkpoint.find(name)
    return None if found is None else np.ascontiguousarray(found.float().numpy())
