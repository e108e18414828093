"""POST /tokenize and POST /detokenize."""

from fastapi import APIRouter, Request, Response

from inferloom_gateway.http.caller import exchange_of
from inferloom_gateway.http.routes.shared import body_of, documents, gateway_of, json_response
from inferloom_gateway.http.schema.tokens import DetokenizeRequest, TokenizeRequest
from inferloom_gateway.http.translate import fields, tokens
from inferloom_mesh.errors import InferloomError

router = APIRouter(tags=["tokens"])

_TEXT = {"model": "smollm2-135m-instruct", "prompt": "Once upon a time"}
_TOKENS = {"model": "smollm2-135m-instruct", "tokens": [6403, 2280, 253, 655]}


@router.post("/tokenize", openapi_extra=documents(TokenizeRequest, simple=_TEXT))
async def tokenize(request: Request) -> Response:
    """Return the token ids of a text or a conversation."""
    (body, wanted), headers = await body_of(
        request, TokenizeRequest, lambda body: (body, tokens.tokenize_request(body))
    )
    with exchange_of(request, gateway_of(request), "tokenize", wanted.model) as exchange:
        try:
            response = await exchange.tokenize(wanted)
        except InferloomError as failure:
            raise fields.restate(failure, fields.of_tokenize) from failure
    return json_response(tokens.tokenize_answer(body, response), headers=headers)


@router.post("/detokenize", openapi_extra=documents(DetokenizeRequest, simple=_TOKENS))
async def detokenize(request: Request) -> Response:
    """Return the text of token ids."""
    wanted, headers = await body_of(request, DetokenizeRequest, tokens.detokenize_request)
    with exchange_of(request, gateway_of(request), "detokenize", wanted.model) as exchange:
        try:
            response = await exchange.detokenize(wanted)
        except InferloomError as failure:
            raise fields.restate(failure, fields.of_detokenize) from failure
    return json_response(tokens.detokenize_answer(response), headers=headers)
