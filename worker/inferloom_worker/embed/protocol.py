"""What a worker asks of whatever computes vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inferloom_worker.embed.options import EmbedderInfo
from inferloom_worker.embed.reader import Reader

Vectors = NDArray[np.float32]
"""One row per text."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """What one request got: a row per text, and where its time went in seconds."""

    vectors: Vectors
    queue_s: float
    compute_s: float


class TextEmbedder(Protocol):
    """Computes vectors for the texts of many requests at once."""

    info: EmbedderInfo
    reader: Reader

    async def embed(self, texts: Sequence[list[int]]) -> Embedded:
        """Vectors for tokenised texts, in order; not normalised. Cancelling takes back what waits.

        Raises:
            InferloomError: SERVER_OVERLOADED when the queue is full, WORKER_LOST when closed, SERVER_ERROR
                when the computation failed.
        """
        ...
