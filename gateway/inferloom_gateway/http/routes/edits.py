"""POST /v1/edits."""

import time

from fastapi import APIRouter, Request, Response

from inferloom.v1.inference_pb2 import TASK_CHAT
from inferloom_gateway.http.caller import calls_of
from inferloom_gateway.http.disconnect import AbortOnDisconnect
from inferloom_gateway.http.exchange import exchange_of
from inferloom_gateway.http.routes.shared import (
    ERRORS,
    answers,
    documents,
    gateway_of,
    json_response,
    translate_off_loop,
)
from inferloom_gateway.http.schema.completion_answers import Edit
from inferloom_gateway.http.schema.edits import EditRequest
from inferloom_gateway.http.translate import edits, fields
from inferloom_gateway.http.translate.outcome import Outcome
from inferloom_mesh.errors import InferloomError

router = APIRouter(tags=["completions"], responses=ERRORS)

_SPELLING = {
    "model": "smollm2-135m-instruct",
    "input": "What day of the wek is it?",
    "instruction": "Fix the spelling mistakes",
}


@router.post(
    "/v1/edits",
    responses=answers(Edit),
    openapi_extra=documents(EditRequest, simple=_SPELLING),
    deprecated=True,
)
async def create_edit(request: Request) -> Response:
    """Change a text as an instruction says. OpenAI has given this endpoint up for chat completions."""
    gateway, exchange = gateway_of(request), exchange_of(request.scope)
    body, headers = await translate_off_loop(request, EditRequest, lambda body: body)
    holding = gateway.fleet.holding(body.model)
    plain = bool(holding) and not any(TASK_CHAT in member.models[body.model].tasks for member in holding)
    wanted = edits.generation(body, exchange.request_id, chats=not plain)
    async with AbortOnDisconnect(request.receive):
        with calls_of(request, gateway, "generate", body.model) as calls:
            try:
                outcome = await calls.collect(wanted, lambda: Outcome(body.n or 1))
            except InferloomError as failure:
                raise fields.restate(failure, edits.rename) from failure
            exchange.worker = calls.record.answered_by
    return json_response(edits.answer(outcome, int(time.time())), headers=headers)
