"""POST /v1/responses, and what can be done with a response that is kept."""

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from inferloom_gateway.http.caller import background_context_of, calls_of
from inferloom_gateway.http.exchange import exchange_of, identity_of, request_id_of
from inferloom_gateway.http.responses.answer import answer
from inferloom_gateway.http.responses.desk import Desk
from inferloom_gateway.http.responses.making import Making
from inferloom_gateway.http.responses.streams import follow, replay
from inferloom_gateway.http.routes.shared import (
    ERRORS,
    answers,
    documents,
    gateway_of,
    json_response,
    translate_off_loop,
)
from inferloom_gateway.http.schema.response_answers import (
    DeletedResponse,
    InputTokens,
    ResponseAnswer,
    ResponseEvent,
    ResponseItemList,
)
from inferloom_gateway.http.schema.responses import ResponseRequest
from inferloom_gateway.http.translate.fields import restate
from inferloom_gateway.http.translate.responses.listing import page
from inferloom_gateway.http.translate.responses.request import check, included
from inferloom_gateway.http.translate.responses.turns import rename
from inferloom_mesh.errors import InferloomError, invalid

router = APIRouter(tags=["responses"], responses=ERRORS)

_HELLO = {"model": "smollm2-135m-instruct", "input": "What is the capital of France?"}


Include = Annotated[
    list[str], Query(default_factory=list, description="What is shown besides: reasoning.encrypted_content")
]
Bracketed = Annotated[list[str], Query(default_factory=list, alias="include[]", include_in_schema=False)]
"""As the SDKs write lists."""


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.responses
    return desk


def _checked(body: ResponseRequest) -> ResponseRequest:
    check(body)
    return body


def _tenant(request: Request) -> str:
    return identity_of(request.scope).tenant


@router.post(
    "/v1/responses",
    responses=answers(ResponseAnswer, ResponseEvent),
    openapi_extra=documents(ResponseRequest, simple=_HELLO, streamed={**_HELLO, "stream": True}),
)
async def create_response(request: Request) -> Response:
    """Make one turn of the model, as one body or, with ``stream``, as typed server-sent events."""
    body, headers = await translate_off_loop(request, ResponseRequest, _checked)
    desk = _desk(request)
    making: Making = await desk.make(body, _tenant(request), request_id_of(request.scope), int(time.time()))
    gateway = gateway_of(request)
    if not body.background:
        return await answer(request, gateway, desk.kept, making, headers)
    exchange, context = exchange_of(request.scope), background_context_of(request, gateway)
    admission = gateway.admission(exchange.identity, making.body.model)
    if body.stream:
        desk.watches.check(making.sealing.tenant)
    try:
        begun = await desk.begin(making, context, admission)
    finally:
        exchange.limits = [] if admission is None else admission.headers
    if body.stream:
        return follow(desk.follow(making.sealing.tenant, begun["id"], -1), headers)
    return json_response(begun, headers=headers)


@router.post(
    "/v1/responses/input_tokens",
    responses=answers(InputTokens),
    openapi_extra=documents(ResponseRequest, simple=_HELLO),
)
async def count_input_tokens(request: Request) -> Response:
    """Count the tokens that a model would read for a response, without making it."""
    body, headers = await translate_off_loop(request, ResponseRequest, _checked)
    asked = (await _desk(request).make(body, _tenant(request), "", 0)).asked
    with calls_of(request, gateway_of(request), "tokenize", body.model) as calls:
        try:
            read = await calls.tokenize(asked.tokenized())
        except InferloomError as failure:
            raise restate(failure, rename(asked.turns, asked.tools)) from failure
        exchange_of(request.scope).worker = calls.record.answered_by
    answer = {"object": "response.input_tokens", "input_tokens": len(read.token_ids)}
    return json_response(answer, headers=headers)


@router.get("/v1/responses/{response_id}", responses=answers(ResponseAnswer, ResponseEvent))
async def retrieve_response(
    request: Request,
    response_id: str,
    include: Include,
    bracketed: Bracketed,
    stream: bool = False,
    starting_after: Annotated[int | None, Query(ge=0, le=2**53)] = None,
) -> Response:
    """Return a response that is kept, as one body or, with ``stream``, as its events: of one in background
    those after ``starting_after``, and those that it still makes."""
    wanted = included([*include, *bracketed])
    desk, tenant = _desk(request), _tenant(request)
    found = await desk.document(tenant, response_id, wanted)
    if not stream:
        return json_response(found)
    if found["background"]:
        return follow(desk.follow(tenant, response_id, -1 if starting_after is None else starting_after))
    if starting_after is not None:
        message = "Only the events of a response with background=true can be had from one on."
        raise invalid("starting_after", message)
    return replay(found)


@router.post("/v1/responses/{response_id}/cancel", responses=answers(ResponseAnswer))
async def cancel_response(request: Request, response_id: str) -> Response:
    """Give up a response in background; one that is over stays as it is."""
    return json_response(await _desk(request).cancel(_tenant(request), response_id))


@router.delete("/v1/responses/{response_id}", responses=answers(DeletedResponse))
async def delete_response(request: Request, response_id: str) -> Response:
    """Forget a response."""
    await _desk(request).kept.delete(_tenant(request), response_id)
    return json_response({"id": response_id, "object": "response", "deleted": True})


@router.get("/v1/responses/{response_id}/input_items", responses=answers(ResponseItemList))
async def list_input_items(
    request: Request,
    response_id: str,
    include: Include,
    bracketed: Bracketed,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
) -> Response:
    """List what a response's model read: its own input, after all that it goes on from."""
    wanted = included([*include, *bracketed])
    items = await _desk(request).read_by(_tenant(request), response_id, wanted)
    return json_response(page(items, after, limit, ascending=order == "asc"))
