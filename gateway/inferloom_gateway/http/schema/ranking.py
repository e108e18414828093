"""The bodies of POST /v1/rerank and POST /v1/score."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from inferloom_gateway.http.schema.base import UINT32_MAX, Body, ModelId, Part, Positive

MOST = 1024
"""Documents of one request."""

Truncation = Annotated[int, Field(ge=-1, le=UINT32_MAX, json_schema_extra={"not": {"const": 0}})]


class Document(Part):
    """A document; its text may stand alone."""

    text: str


def _document(value: Any) -> Any:
    if isinstance(value, str):
        return {"text": value}
    if not isinstance(value, dict):
        raise PydanticCustomError("document", "must be a string or an object with a text")
    return value


Documents = Annotated[
    list[Annotated[Document, BeforeValidator(_document, json_schema_input_type=str | Document)]],
    Field(min_length=1, max_length=MOST),
]


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise PydanticCustomError("texts", "must be a string or an array of strings")
    return value


_Many = Annotated[list[str], Field(min_length=1, max_length=MOST)]
Texts = Annotated[_Many, BeforeValidator(_listed, json_schema_input_type=str | _Many)]
"""Texts; one may stand without its list."""


class RankingParameters(Body):
    """How texts are read and scored."""

    model: ModelId
    max_tokens_per_doc: Positive | None = None
    truncate_prompt_tokens: Truncation | None = None
    truncate: bool | None = None
    use_activation: bool | None = None
    activation: bool | None = None


class RerankRequest(RankingParameters):
    """Documents to put in the order of their relevance to a query."""

    endpoint = "rerank"

    query: str
    documents: Documents
    top_n: Annotated[int, Field(ge=0, le=UINT32_MAX)] | None = None
    return_documents: bool | None = None


class ScoreRequest(RankingParameters):
    """Pairs of texts to score, or one text with several; each side has several names."""

    endpoint = "score"

    text_1: Texts | None = None
    queries: Texts | None = None
    data_1: Texts | None = None
    text_2: Texts | None = None
    documents: Texts | None = None
    items: Texts | None = None
    data_2: Texts | None = None
