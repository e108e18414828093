"""POST /v1/rerank and POST /v1/score, under the paths of Jina's, Cohere's and vLLM's clients."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response

from inferloom.v1.inference_pb2 import RerankResponse
from inferloom_gateway.http.caller import calls_of
from inferloom_gateway.http.disconnect import AbortOnDisconnect
from inferloom_gateway.http.exchange import exchange_of, request_id_of
from inferloom_gateway.http.routes.shared import (
    ERRORS,
    answers,
    documents,
    gateway_of,
    json_response,
    translate_off_loop,
)
from inferloom_gateway.http.schema.answers import Ranking, ScoreList
from inferloom_gateway.http.schema.base import Body
from inferloom_gateway.http.schema.ranking import RerankRequest, ScoreRequest
from inferloom_gateway.http.translate import fields, ranking
from inferloom_gateway.http.translate.ranking import Asked
from inferloom_mesh.errors import InferloomError

B = TypeVar("B", bound=Body)

router = APIRouter(tags=["ranking"], responses=ERRORS)

_CITIES: dict[str, Any] = {
    "model": "all-minilm-l6-v2",
    "query": "What is the capital of France?",
    "documents": ["Paris is the capital of France.", "Cats sleep most of the day."],
}
_PAIR = {"model": "all-minilm-l6-v2", "text_1": "How old are you?", "text_2": ["What is your age?", "Hello!"]}


@router.post("/v1/rerank", responses=answers(Ranking), openapi_extra=documents(RerankRequest, simple=_CITIES))
@router.post("/v2/rerank", responses=answers(Ranking), openapi_extra=documents(RerankRequest, simple=_CITIES))
@router.post("/rerank", responses=answers(Ranking), openapi_extra=documents(RerankRequest, simple=_CITIES))
async def rerank(request: Request) -> Response:
    """Put documents in the order of their relevance to a query.

    A model that embeds ranks by the cosine of its vectors."""
    return await _rank(request, RerankRequest, ranking.rerank, ranking.ranking)


@router.post("/v1/score", responses=answers(ScoreList), openapi_extra=documents(ScoreRequest, simple=_PAIR))
@router.post("/score", responses=answers(ScoreList), openapi_extra=documents(ScoreRequest, simple=_PAIR))
async def score(request: Request) -> Response:
    """Score pairs of texts, or one text with each of several.

    A model that embeds scores by the cosine of its vectors."""
    created = int(time.time())
    return await _rank(
        request, ScoreRequest, ranking.score, lambda body, response: ranking.scores(body, response, created)
    )


async def _rank(
    request: Request,
    schema: type[B],
    translate: Callable[[B, str], Asked],
    answer: Callable[[B, RerankResponse], Mapping[str, object]],
) -> Response:
    request_id = request_id_of(request.scope)
    (body, asked), headers = await translate_off_loop(
        request, schema, lambda body: (body, translate(body, request_id))
    )
    async with AbortOnDisconnect(request.receive):
        with calls_of(request, gateway_of(request), "rerank", asked.request.model) as calls:
            try:
                response = await calls.rerank(asked.request)
            except InferloomError as failure:
                raise fields.restate(failure, asked.rename) from failure
            exchange_of(request.scope).worker = calls.record.answered_by
    return json_response(answer(body, response), headers=headers)
