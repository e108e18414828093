"""What all answers have, and those of embedding and ranking, for the OpenAPI document.

The answers themselves are made in ``translate``, faster.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """A JSON object that is sent; every field is always there unless it has a default."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class ErrorObject(Answer):
    """What went wrong, as OpenAI's API says it."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(Answer):
    """The body of every answer with a status from 400 on."""

    error: ErrorObject


class EmbeddingEntry(Answer):
    """The vector of one input: numbers, or little-endian float32 in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Answer):
    """Counts of tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Answer):
    """The answer of POST /v1/embeddings."""

    object: Literal["list"]
    data: list[EmbeddingEntry]
    model: str
    usage: EmbeddingUsage


class RankingUsage(Answer):
    """Counts of tokens."""

    prompt_tokens: int
    total_tokens: int


class RankedText(Answer):
    """A document's text."""

    text: str


class RankedDocument(Answer):
    """A document's place in the request and its relevance; its text unless ``return_documents`` is false."""

    index: int
    relevance_score: float
    document: RankedText | None = None


class Ranking(Answer):
    """The answer of POST /v1/rerank: the best documents first."""

    id: str
    model: str
    usage: RankingUsage
    results: list[RankedDocument]


class Score(Answer):
    """The score of one pair of texts."""

    object: Literal["score"]
    index: int
    score: float


class ScoreList(Answer):
    """The answer of POST /v1/score: the pairs in the order of the request."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[Score]
    usage: RankingUsage
