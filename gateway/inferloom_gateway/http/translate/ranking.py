"""POST /v1/rerank, in the shape of Jina's and Cohere's, and POST /v1/score: to the contract and back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.ranking import RankingParameters, RerankRequest, ScoreRequest
from inferloom_gateway.http.translate import fields
from inferloom_mesh.errors import invalid

_FIRST = ("text_1", "queries", "data_1")
_SECOND = ("text_2", "documents", "items", "data_2")

Rename = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what its caller calls its fields."""

    request: pb.RerankRequest
    rename: Rename


def rerank(body: RerankRequest, request_id: str) -> Asked:
    """The contract's request for an order."""
    request = _request(body, request_id)
    request.query = body.query
    request.documents.extend(document.text for document in body.documents)
    if body.top_n:
        request.top_n = body.top_n
    return Asked(request, fields.of("rerank"))


def score(body: ScoreRequest, request_id: str) -> Asked:
    """The contract's request for scores: of one text with each of several, or of pairs.

    Raises:
        InferloomError: A side is missing, or given twice, or the numbers do not fit.
    """
    first, one = _side(body, _FIRST)
    second, two = _side(body, _SECOND)
    request = _request(body, request_id)
    request.documents.extend(two)
    if len(one) == 1:
        request.query = one[0]
    elif len(one) == len(two):
        request.queries.extend(one)
    else:
        raise invalid(
            first,
            f"{len(one)} texts in '{first}' do not fit the {len(two)} in '{second}': one for all of them, or "
            "as many.",
        )

    def rename(path: str) -> str:
        for field, name in (("queries", first), ("query", first), ("documents", second)):
            if path.partition("[")[0] == field:
                return name + path[len(field) :]
        return fields.of("score")(path)

    return Asked(request, rename)


def _request(body: RankingParameters, request_id: str) -> pb.RerankRequest:
    most = body.truncate_prompt_tokens
    if most == 0:
        raise invalid("truncate_prompt_tokens", "Invalid 'truncate_prompt_tokens': must be -1 or at least 1.")
    return pb.RerankRequest(
        model=body.model,
        request_id=request_id,
        max_document_tokens=body.max_tokens_per_doc,
        truncate=True if most == -1 else body.truncate,
        max_tokens=None if most == -1 else most,
        activation=body.activation if body.use_activation is None else body.use_activation,
    )


def _side(body: ScoreRequest, names: Sequence[str]) -> tuple[str, list[str]]:
    """The name that one side of the pairs has, and its texts."""
    given = [name for name in names if getattr(body, name) is not None]
    if not given:
        raise invalid(names[0], f"Missing required parameter: '{names[0]}'.")
    if len(given) > 1:
        raise invalid(given[1], f"'{given[1]}' is another name for '{given[0]}'; give one of them.")
    texts: list[str] = getattr(body, given[0])
    return given[0], texts


def ranking(body: RerankRequest, response: pb.RerankResponse) -> dict[str, object]:
    """The response body of an order."""
    shows = body.return_documents is not False
    return {
        "id": f"rerank-{response.request_id}",
        "model": body.model,
        "usage": _usage(response),
        "results": [
            {
                "index": one.index,
                **({"document": {"text": body.documents[one.index].text}} if shows else {}),
                "relevance_score": _number(one.score),
            }
            for one in response.results
        ],
    }


def scores(body: ScoreRequest, response: pb.RerankResponse, created: int) -> dict[str, object]:
    """The response body of scores, in the order of the pairs."""
    return {
        "id": f"score-{response.request_id}",
        "object": "list",
        "created": created,
        "model": body.model,
        "data": [
            {"index": one.index, "object": "score", "score": _number(one.score)}
            for one in sorted(response.results, key=lambda one: one.index)
        ],
        "usage": _usage(response),
    }


def _number(score: float) -> float:
    """With no more digits than a float32 has."""
    return float(f"{score:.9g}")


def _usage(response: pb.RerankResponse) -> dict[str, object]:
    tokens = response.usage.prompt_tokens
    return {"prompt_tokens": tokens, "total_tokens": tokens}
