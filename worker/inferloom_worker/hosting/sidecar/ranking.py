"""Scores of documents, by a server that ranks or by the vectors of one that embeds."""

from typing import Any

import numpy as np

from inferloom_mesh.errors import InferloomError, unsupported
from inferloom_mesh.named_fields import named
from inferloom_worker.embed.cosine import cosines
from inferloom_worker.embed.options import Caller
from inferloom_worker.embed.ranker import Scores
from inferloom_worker.embed.vector_stream import Vectors, VectorStream
from inferloom_worker.engines.sidecar import reading
from inferloom_worker.engines.sidecar.facts import Facts
from inferloom_worker.engines.sidecar.kinds import ServerKind
from inferloom_worker.engines.sidecar.sse import MalformedError
from inferloom_worker.hosting.sidecar.posts import Posts
from inferloom_worker.hosting.sidecar.vectors import ServerEmbedder, prompt_tokens
from inferloom_worker.validate.rerank import RankingRequest


class ServerRanker:
    """A :class:`~inferloom_worker.embed.ranker.Ranker` that asks a server for scores.

    Args:
        posts: Has it asked.
        facts: What it is.
    """

    def __init__(self, posts: Posts, facts: Facts) -> None:
        self._posts = posts
        self._facts = facts

    def read(self, asked: RankingRequest) -> "ServerReading":
        """As the protocol says; UNSUPPORTED_PARAMETER for what the server cannot do."""
        _refuse(
            (asked.each, "queries"),
            *_of_tokens(asked),
            (asked.truncate and self._facts.kind is not ServerKind.VLLM, "truncate"),
            (not asked.activation, "activation"),
        )
        return ServerReading(self._posts, self._facts, asked)


class ServerReading:
    """One request for scores."""

    def __init__(self, posts: Posts, facts: Facts, asked: RankingRequest) -> None:
        self.tokens = 0
        self._posts = posts
        self._facts = facts
        self._asked = asked

    def start(self, caller: Caller) -> VectorStream:
        return self._posts.stream(len(self._asked.documents), caller, self._compute)

    def scores(self, rows: Vectors) -> Scores:
        return rows[:, 0]

    def restated(self, error: InferloomError) -> InferloomError:
        return error

    async def _compute(self, stream: VectorStream) -> None:
        body: dict[str, Any] = {
            "model": self._facts.model,
            "query": self._asked.queries[0],
            "documents": list(self._asked.documents),
            "top_n": len(self._asked.documents),
        }
        if self._asked.truncate:
            body["truncate_prompt_tokens"] = -1
        answer = await self._posts.post(stream, "/rerank", body)
        count = len(self._asked.documents)
        found: dict[int, float] = {}
        for each in reading.items(answer.get("results"), "results", count):
            told = reading.obj(each, "a result")
            score = reading.number(told.get("relevance_score"), "a score")
            found[reading.count(told.get("index"), "an index")] = score
        if found.keys() != set(range(count)):
            raise MalformedError("scores of other documents")
        self.tokens = prompt_tokens(answer)
        for index in range(count):
            stream.put(index, np.asarray([found[index]], np.float32))


class VectorRanker:
    """A :class:`~inferloom_worker.embed.ranker.Ranker` whose scores are the cosines of a server's vectors.

    Args:
        embedder: Gives them.
    """

    def __init__(self, embedder: ServerEmbedder) -> None:
        self._embedder = embedder

    def read(self, asked: RankingRequest) -> "VectorReading":
        """As the protocol says; UNSUPPORTED_PARAMETER for what the server cannot do."""
        _refuse(*_of_tokens(asked))
        names = [asked.query_name(index) for index in range(len(asked.queries))]
        names += [f"documents[{index}]" for index in range(len(asked.documents))]
        texts: list[list[int]] = [
            self._embedder.reader.read(name, text, truncate=asked.truncate)
            for name, text in zip(names, [*asked.queries, *asked.documents], strict=True)
        ]
        return VectorReading(self._embedder, texts, len(asked.queries))


class VectorReading:
    """Queries, and then documents, of one request."""

    def __init__(self, embedder: ServerEmbedder, texts: list[list[int]], queries: int) -> None:
        self._embedder = embedder
        self._texts = texts
        self._queries = queries
        self._stream: VectorStream | None = None

    @property
    def tokens(self) -> int:
        return 0 if self._stream is None else self._stream.read_tokens or 0

    def start(self, caller: Caller) -> VectorStream:
        self._stream = self._embedder.embed(self._texts, caller)
        return self._stream

    def scores(self, rows: Vectors) -> Scores:
        return cosines(rows, self._queries)

    def restated(self, error: InferloomError) -> InferloomError:
        return error


def _of_tokens(asked: RankingRequest) -> tuple[tuple[bool, str], ...]:
    """What needs tokens that only the server knows."""
    return (
        (asked.max_document_tokens is not None, "max_document_tokens"),
        (asked.max_tokens is not None, "max_tokens"),
    )


def _refuse(*params: tuple[bool, str]) -> None:
    for there, param in params:
        if there:
            raise unsupported(param, f"The model's server does not support {named(param)}.")
