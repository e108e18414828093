"""POST /tokenize, POST /detokenize and GET /tokenizer_info."""

from fastapi import APIRouter, Request, Response

from inferloom.v1.inference_pb2 import GetTokenizerRequest
from inferloom_gateway.http.caller import calls_of
from inferloom_gateway.http.exchange import exchange_of
from inferloom_gateway.http.routes.shared import (
    ERRORS,
    answers,
    documents,
    gateway_of,
    json_response,
    translate_off_loop,
)
from inferloom_gateway.http.schema.service_answers import DetokenizeAnswer, TokenizeAnswer, TokenizerInfo
from inferloom_gateway.http.schema.tokens import DetokenizeRequest, TokenizeRequest
from inferloom_gateway.http.translate import fields, tokens
from inferloom_mesh.errors import InferloomError, invalid

router = APIRouter(tags=["tokens"], responses=ERRORS)

MAX_BODY_BYTES = 4 * 2**20
"""More than the text, or the ids, of any context."""

_TEXT = {"model": "smollm2-135m-instruct", "prompt": "Once upon a time"}
_TOKENS = {"model": "smollm2-135m-instruct", "tokens": [6403, 2280, 253, 655]}


@router.post(
    "/tokenize", responses=answers(TokenizeAnswer), openapi_extra=documents(TokenizeRequest, simple=_TEXT)
)
async def tokenize(request: Request) -> Response:
    """Return the token ids of a text or a conversation."""
    (body, wanted), headers = await translate_off_loop(
        request, TokenizeRequest, lambda body: (body, tokens.tokenize_request(body)), MAX_BODY_BYTES
    )
    with calls_of(request, gateway_of(request), "tokenize", wanted.model) as calls:
        try:
            response = await calls.tokenize(wanted)
        except InferloomError as failure:
            raise fields.restate(failure, fields.of("tokenize")) from failure
        exchange_of(request.scope).worker = calls.record.answered_by
    return json_response(tokens.tokenize_answer(body, response), headers=headers)


@router.post(
    "/detokenize",
    responses=answers(DetokenizeAnswer),
    openapi_extra=documents(DetokenizeRequest, simple=_TOKENS),
)
async def detokenize(request: Request) -> Response:
    """Return the text of token ids."""
    wanted, headers = await translate_off_loop(
        request, DetokenizeRequest, tokens.detokenize_request, MAX_BODY_BYTES
    )
    with calls_of(request, gateway_of(request), "detokenize", wanted.model) as calls:
        try:
            response = await calls.detokenize(wanted)
        except InferloomError as failure:
            raise fields.restate(failure, fields.of("detokenize")) from failure
        exchange_of(request.scope).worker = calls.record.answered_by
    return json_response(tokens.detokenize_answer(response), headers=headers)


@router.get("/tokenizer_info", responses=answers(TokenizerInfo))
async def tokenizer_info(request: Request, model: str | None = None) -> Response:
    """Describe a model's tokenizer; where only one model is served, it need not be named."""
    gateway = gateway_of(request)
    if not model:
        served = [item.id for item in gateway.fleet.models()]
        if len(served) != 1:
            raise invalid("model", "Name the model: /tokenizer_info?model=NAME. GET /v1/models lists all.")
        model = served[0]
    with calls_of(request, gateway, "tokenizer", model) as calls:
        try:
            response = await calls.get_tokenizer(GetTokenizerRequest(model=model))
        except InferloomError as failure:
            raise fields.restate(failure, lambda path: path) from failure
        exchange_of(request.scope).worker = calls.record.answered_by
    return json_response(tokens.tokenizer_info(response))
