"""POST /v1/embeddings, and the older path that names the model."""

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response

from inferloom.v1.inference_pb2 import EmbedRequest
from inferloom_gateway.http.bounded_gather import together
from inferloom_gateway.http.chunked_response import PartedResponse
from inferloom_gateway.http.disconnect import AbortOnDisconnect
from inferloom_gateway.http.request_id import request_id_of
from inferloom_gateway.http.routes.shared import body_of, documents, gateway_of
from inferloom_gateway.http.schema.base import Body
from inferloom_gateway.http.schema.embeddings import EmbeddingRequest, EngineEmbeddingRequest
from inferloom_gateway.http.translate import embeddings, fields
from inferloom_mesh.errors import InferloomError

B = TypeVar("B", bound=Body)

router = APIRouter(tags=["embeddings"])

_HELLO: dict[str, Any] = {"input": "Hello world!"}
_MOST_AT_ONCE = 32


@router.post(
    "/v1/embeddings",
    openapi_extra=documents(EmbeddingRequest, simple={"model": "all-minilm-l6-v2", **_HELLO}),
)
async def create_embeddings(request: Request) -> Response:
    """Embed one or several inputs."""
    return await _embed(request, EmbeddingRequest, lambda body: body)


@router.post(
    "/v1/engines/{model:path}/embeddings", openapi_extra=documents(EngineEmbeddingRequest, simple=_HELLO)
)
async def create_engine_embeddings(request: Request, model: str) -> Response:
    """Embed one or several inputs with the model that the path names."""
    return await _embed(request, EngineEmbeddingRequest, lambda body: body.of(model))


async def _embed(request: Request, schema: type[B], complete: Callable[[B], EmbeddingRequest]) -> Response:
    gateway = gateway_of(request)
    size = gateway.settings.embedding_batch_size
    request_id = request_id_of(request.scope)

    def translate(body: B) -> tuple[EmbeddingRequest, list[EmbedRequest]]:
        completed = complete(body)
        return completed, embeddings.batches(completed, request_id, size)

    (body, batches), headers = await body_of(request, schema, translate)
    deadline = gateway.deadline()
    base64 = body.encoding_format == "base64"

    async def embed(number: int, batch: EmbedRequest) -> tuple[bytes, int]:
        """Embed one batch; its entries in the body, made as they come so that many do not come at once."""
        first = number * size
        try:
            response = await gateway.dispatcher.embed(batch, deadline)
        except InferloomError as failure:
            raise fields.restate(failure, fields.of_embedding(first)) from failure
        return embeddings.entries(response, first, base64=base64), response.usage.prompt_tokens

    async with AbortOnDisconnect(request.receive):
        done = await together([embed(*numbered) for numbered in enumerate(batches)], _MOST_AT_ONCE)
    entries, tokens = zip(*done, strict=True)
    parts = embeddings.answer(body.model, entries, sum(tokens))
    return PartedResponse(parts, headers=headers, media_type="application/json")
