"""What a worker asks of whatever scores documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inferloom_mesh.errors import InferloomError
from inferloom_worker.embed.options import Caller
from inferloom_worker.embed.vector_stream import Vectors, VectorStream
from inferloom_worker.validate.rerank import RankingRequest

Scores = NDArray[np.float32]
"""One number per document."""


class Reading(Protocol):
    """The texts of one request, tokenised."""

    @property
    def tokens(self) -> int:
        """How many tokens are read."""
        ...

    def start(self, caller: Caller) -> VectorStream:
        """Have them computed. Called on an event loop. Closing the stream takes back what waits.

        Raises:
            InferloomError: SERVER_OVERLOADED when the queue is full, WORKER_LOST when closed; the stream as
                :class:`~inferloom_worker.embed.batcher.Batcher` says.
        """
        ...

    def scores(self, rows: Vectors) -> Scores:
        """The documents' scores, in their order, of all of the stream's rows."""
        ...

    def restated(self, error: InferloomError) -> InferloomError:
        """What the stream raised, in terms of the request's fields."""
        ...


class Ranker(Protocol):
    """Scores documents for the requests of many callers at once."""

    def read(self, asked: RankingRequest) -> Reading:
        """Tokenise a request. Blocking.

        Raises:
            InferloomError: CONTEXT_LENGTH_EXCEEDED or INVALID_ARGUMENT at a text that cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document's place and score."""

    index: int
    score: float


def best(scores: Scores, top_n: int) -> Sequence[Ranked]:
    """The ``top_n`` best documents, best first; of equal ones the one that stood first."""
    order = np.argsort(-scores, kind="stable")[:top_n]
    return [Ranked(int(index), float(scores[index])) for index in order]
