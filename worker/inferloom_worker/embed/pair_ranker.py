"""Ranking by a model that reads a query and a document together (a cross-encoder)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.embed.batcher import Batcher
from inferloom_worker.embed.options import Caller, EmbedOptions, RankerInfo
from inferloom_worker.embed.pairs import Pair
from inferloom_worker.embed.ranker import Scores
from inferloom_worker.embed.vector_stream import Vectors, VectorStream
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.validate.rerank import RankingRequest


class Reader(Protocol):
    """Makes pairs of a request."""

    tokenizer: Tokenizer

    def read(self, asked: RankingRequest) -> list[Pair]:
        """One pair per document. Blocking. Raises InferloomError, at a text that cannot be read."""
        ...


class PairModel(Protocol):
    """What scores pairs; see :func:`~inferloom_worker.embed.pair_loading.load_pair_model`."""

    info: RankerInfo
    reader: Reader

    def encode(self, texts: list[Pair]) -> Vectors:
        """For each pair the model's output, and what its activation makes of that."""
        ...


class PairRanker(Batcher[Pair]):
    """A :class:`~inferloom_worker.embed.ranker.Ranker` around a cross-encoder."""

    def __init__(self, model: PairModel, options: EmbedOptions) -> None:
        super().__init__(model, options, _failed)
        self.info = model.info
        self.reader = model.reader

    def read(self, asked: RankingRequest) -> "PairReading":
        return PairReading(self, self.reader.read(asked), asked.activation)


@dataclass(frozen=True, slots=True)
class PairReading:
    """The pairs of one request."""

    ranker: PairRanker
    pairs: Sequence[Pair]
    activation: bool

    @property
    def tokens(self) -> int:
        return sum(map(len, self.pairs))

    def start(self, caller: Caller) -> VectorStream:
        return self.ranker.submit(self.pairs)

    def scores(self, rows: Vectors) -> Scores:
        return rows[:, int(self.activation)]

    def restated(self, error: InferloomError) -> InferloomError:
        return error


def _failed(index: int) -> InferloomError:
    where = f"documents[{index}]"
    return InferloomError(Reason.SERVER_ERROR, f"{where} could not be scored.", param=where)
