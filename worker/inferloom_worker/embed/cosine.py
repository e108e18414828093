"""Ranking by the vectors of a model that embeds."""

import re
from dataclasses import dataclass

from inferloom_mesh.errors import InferloomError, invalid
from inferloom_worker.embed.options import Caller
from inferloom_worker.embed.protocol import TokenEmbedder
from inferloom_worker.embed.ranker import Scores
from inferloom_worker.embed.reader import Reader
from inferloom_worker.embed.vector_stream import Vectors, VectorStream
from inferloom_worker.embed.vectors import finish
from inferloom_worker.validate.embed import input_too_long
from inferloom_worker.validate.rerank import RankingRequest

_INPUT = re.compile(r"inputs\[(\d+)\]")


class CosineRanker:
    """A :class:`~inferloom_worker.embed.ranker.Ranker` whose scores are the cosines of vectors.

    A query and a document are read apart, so each may be as long as the model reads.
    """

    def __init__(self, embedder: TokenEmbedder) -> None:
        self._embedder = embedder

    def read(self, asked: RankingRequest) -> "CosineReading":
        reader = self._embedder.reader
        texts = [_ids(reader, asked, asked.query_name(i), text) for i, text in enumerate(asked.queries)]
        for index, text in enumerate(asked.documents):
            if asked.max_document_tokens is not None:
                text = reader.tokenizer.cut(text, asked.max_document_tokens)
            texts.append(_ids(reader, asked, f"documents[{index}]", text))
        return CosineReading(self._embedder, texts, len(asked.queries))


@dataclass(frozen=True, slots=True)
class CosineReading:
    """Queries, and then documents."""

    embedder: TokenEmbedder
    texts: list[list[int]]
    queries: int

    @property
    def tokens(self) -> int:
        return sum(map(len, self.texts))

    def start(self, caller: Caller) -> VectorStream:
        return self.embedder.embed(self.texts, caller)

    def scores(self, rows: Vectors) -> Scores:
        return cosines(rows, self.queries)

    def restated(self, error: InferloomError) -> InferloomError:
        match = _INPUT.fullmatch(error.param or "")
        if match is None:
            return error
        index = int(match[1])
        one = f"queries[{index}]" if self.queries > 1 else "query"
        name = one if index < self.queries else f"documents[{index - self.queries}]"
        return InferloomError(error.reason, f"{name} could not be scored.", param=name)


def cosines(rows: Vectors, queries: int) -> Scores:
    """The cosine of each document's vector with its query's.

    Args:
        rows: ``queries`` vectors, and then those of the documents.
        queries: One for all documents, or as many as there are.
    """
    unit = finish(rows, dimensions=rows.shape[1], normalize=True)
    scores: Scores = (unit[queries:] * unit[:queries]).sum(axis=1)
    return scores


def _ids(reader: Reader, asked: RankingRequest, name: str, text: str) -> list[int]:
    ids = reader.tokens(text)
    most, cuts = asked.limit(reader.max_tokens)
    if not ids:
        raise invalid(name, f"{name} has no tokens.")
    if len(ids) > most and not cuts:
        raise input_too_long(name, len(ids), most)
    return reader.shorten(ids, special=True, most=most)
