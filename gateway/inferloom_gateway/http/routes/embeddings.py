"""POST /v1/embeddings, and the older path that names the model."""

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response

from inferloom.v1.inference_pb2 import EmbedRequest
from inferloom_gateway.http.caller import calls_of
from inferloom_gateway.http.embedding_answer import embedding_answer
from inferloom_gateway.http.exchange import exchange_of
from inferloom_gateway.http.fast_lane import fast
from inferloom_gateway.http.routes.shared import ERRORS, answers, documents, gateway_of, translate_off_loop
from inferloom_gateway.http.schema.answers import EmbeddingList
from inferloom_gateway.http.schema.base import Body
from inferloom_gateway.http.schema.embeddings import EmbeddingRequest, EngineEmbeddingRequest
from inferloom_gateway.http.translate import embeddings

B = TypeVar("B", bound=Body)

router = APIRouter(tags=["embeddings"], responses=ERRORS)

_HELLO: dict[str, Any] = {"input": "Hello world!"}


@router.post(
    "/v1/embeddings",
    responses=answers(EmbeddingList),
    openapi_extra=documents(EmbeddingRequest, simple={"model": "all-minilm-l6-v2", **_HELLO}),
)
@fast
async def create_embeddings(request: Request) -> Response:
    """Embed one or several inputs."""
    return await _embed(request, EmbeddingRequest, lambda body: body)


@router.post(
    "/v1/engines/{model:path}/embeddings",
    responses=answers(EmbeddingList),
    openapi_extra=documents(EngineEmbeddingRequest, simple=_HELLO),
)
async def create_engine_embeddings(request: Request, model: str) -> Response:
    """Embed one or several inputs with the model that the path names."""
    return await _embed(request, EngineEmbeddingRequest, lambda body: body.of(model))


async def _embed(request: Request, schema: type[B], complete: Callable[[B], EmbeddingRequest]) -> Response:
    gateway = gateway_of(request)
    size = gateway.settings.embedding_batch_size
    exchange = exchange_of(request.scope)

    def translate(body: B) -> tuple[EmbeddingRequest, list[EmbedRequest]]:
        completed = complete(body)
        return completed, embeddings.batches(completed, exchange.request_id, size)

    (body, batches), headers = await translate_off_loop(request, schema, translate)
    base64 = body.encoding_format == "base64"
    calls = calls_of(request, gateway, "embed", body.model)
    return embedding_answer(exchange, calls, body.model, batches, headers, batch_size=size, base64=base64)
