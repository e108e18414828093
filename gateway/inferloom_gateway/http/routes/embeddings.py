"""POST /v1/embeddings, and the older path that names the model."""

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response

from inferloom.v1.inference_pb2 import EmbedRequest
from inferloom_gateway.http.caller import exchange_of
from inferloom_gateway.http.embedding_answer import embedding_answer
from inferloom_gateway.http.request_id import request_id_of
from inferloom_gateway.http.routes.shared import body_of, documents, gateway_of
from inferloom_gateway.http.schema.base import Body
from inferloom_gateway.http.schema.embeddings import EmbeddingRequest, EngineEmbeddingRequest
from inferloom_gateway.http.translate import embeddings

B = TypeVar("B", bound=Body)

router = APIRouter(tags=["embeddings"])

_HELLO: dict[str, Any] = {"input": "Hello world!"}


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
    base64 = body.encoding_format == "base64"
    exchange = exchange_of(request, gateway, "embed", body.model)
    return embedding_answer(exchange, body.model, batches, headers, batch_size=size, base64=base64)
