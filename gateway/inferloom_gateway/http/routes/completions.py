"""POST /v1/completions."""

import time

from fastapi import APIRouter, Request, Response

from inferloom_gateway.http.answer import answer
from inferloom_gateway.http.exchange import request_id_of
from inferloom_gateway.http.fast_lane import fast
from inferloom_gateway.http.routes.shared import ERRORS, answers, documents, gateway_of, translate_off_loop
from inferloom_gateway.http.schema.completion_answers import TextCompletion
from inferloom_gateway.http.schema.completions import CompletionRequest
from inferloom_gateway.http.streams.answer import begin
from inferloom_gateway.http.translate import completions
from inferloom_gateway.streams.asking import HEADER

router = APIRouter(tags=["completions"], responses=ERRORS)

_ONCE = {"model": "smollm2-135m-instruct", "prompt": "Once upon a time", "max_tokens": 41}


@router.post(
    "/v1/completions",
    responses=answers(TextCompletion, TextCompletion),
    openapi_extra=documents(CompletionRequest, simple=_ONCE),
)
@fast
async def create_completion(request: Request) -> Response:
    """Continue one or several texts, as one body or, with ``stream``, as server-sent events."""
    request_id, created = request_id_of(request.scope), int(time.time())
    if HEADER in request.headers:
        return await begin(request, "completions", request_id, created)
    plan, headers = await translate_off_loop(
        request, CompletionRequest, lambda body: completions.plan(body, request_id, created)
    )
    return await answer(request, gateway_of(request), plan, headers)
