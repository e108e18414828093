"""POST /v1/chat/completions."""

import time

from fastapi import APIRouter, Request, Response

from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http.answer import answer
from inferloom_gateway.http.exchange import identity_of, request_id_of
from inferloom_gateway.http.fast_lane import fast
from inferloom_gateway.http.intake import Intake
from inferloom_gateway.http.kept import ChatKeeper
from inferloom_gateway.http.routes.shared import ERRORS, answers, documents, gateway_of, translate_off_loop
from inferloom_gateway.http.schema.chat import ChatCompletionRequest
from inferloom_gateway.http.schema.completion_answers import ChatCompletion, ChatCompletionChunk
from inferloom_gateway.http.streams.answer import begin
from inferloom_gateway.http.translate import chat
from inferloom_gateway.storage.kinds import CHAT_COMPLETIONS
from inferloom_gateway.streams.asking import HEADER
from inferloom_mesh.errors import unsupported

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
    if HEADER in request.headers:
        return await begin(request, "chat", request_id, created)
    (body, plan), headers = await translate_off_loop(
        request, ChatCompletionRequest, lambda body: (body, chat.plan(body, request_id, created))
    )
    gateway = gateway_of(request)
    if not body.store:
        return await answer(request, gateway, plan, headers)
    keeper = await _keeper(request, gateway, body)
    intake: Intake = request.app.state.intake
    plan = await intake.run(lambda: chat.plan(body, request_id, created, keeper.answer_id))
    return await answer(request, gateway, plan, headers, keeper.keep)


async def _keeper(request: Request, gateway: Gateway, body: ChatCompletionRequest) -> ChatKeeper:
    """Where the answer will be kept.

    Raises:
        InferloomError: Nowhere, or there is no room.
    """
    if not gateway.storage.on:
        raise unsupported("store", "store is not supported: this gateway keeps nothing (--no-store).")
    store = await gateway.storage.open()
    await store.check_room()
    completions, age = store.documents(CHAT_COMPLETIONS), gateway.settings.store_age_s
    return ChatKeeper(completions, identity_of(request.scope).tenant, body, completions.new_id(), age)
