"""POST /v1/chat/completions."""

import time

from fastapi import APIRouter, Request, Response

from inferloom_gateway.http.answer import answer
from inferloom_gateway.http.exchange import request_id_of
from inferloom_gateway.http.fast_lane import fast
from inferloom_gateway.http.routes.shared import ERRORS, answers, documents, gateway_of, translate_off_loop
from inferloom_gateway.http.schema.answers import ChatCompletion, ChatCompletionChunk
from inferloom_gateway.http.schema.chat import ChatCompletionRequest
from inferloom_gateway.http.translate import chat

router = APIRouter(tags=["chat"], responses=ERRORS)

_HELLO = {
    "model": "smollm2-135m-instruct",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
}


@router.post(
    "/v1/chat/completions",
    responses=answers(ChatCompletion, ChatCompletionChunk),
    openapi_extra=documents(ChatCompletionRequest, simple=_HELLO, streamed={**_HELLO, "stream": True}),
)
@fast
async def create_chat_completion(request: Request) -> Response:
    """Continue a conversation, as one body or, with ``stream``, as server-sent events."""
    request_id, created = request_id_of(request.scope), int(time.time())
    plan, headers = await translate_off_loop(
        request, ChatCompletionRequest, lambda body: chat.plan(body, request_id, created)
    )
    return await answer(request, gateway_of(request), plan, headers)
