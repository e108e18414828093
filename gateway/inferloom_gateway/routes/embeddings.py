"""POST /v1/embeddings, and the older path that names the model."""

from typing import Any

from fastapi import APIRouter, Request, Response

from inferloom.v1.inference_pb2 import EmbedRequest
from inferloom_gateway.disconnect import AbortOnDisconnect
from inferloom_gateway.request_id import request_id_of
from inferloom_gateway.routes.shared import body_of, documents, gateway_of
from inferloom_gateway.schema.embeddings import EmbeddingRequest, EngineEmbeddingRequest
from inferloom_gateway.together import together
from inferloom_gateway.translate import embeddings, fields
from inferloom_mesh.errors import InferloomError

router = APIRouter(tags=["embeddings"])

_HELLO: dict[str, Any] = {"input": "Hello world!"}
_MOST_AT_ONCE = 32


@router.post(
    "/v1/embeddings",
    openapi_extra=documents(EmbeddingRequest, simple={"model": "all-minilm-l6-v2", **_HELLO}),
)
async def create_embeddings(request: Request) -> Response:
    """Embed one or several inputs."""
    body, headers = await body_of(request, EmbeddingRequest)
    return await _embed(request, body, headers)


@router.post(
    "/v1/engines/{model:path}/embeddings", openapi_extra=documents(EngineEmbeddingRequest, simple=_HELLO)
)
async def create_engine_embeddings(request: Request, model: str) -> Response:
    """Embed one or several inputs with the model that the path names."""
    body, headers = await body_of(request, EngineEmbeddingRequest)
    return await _embed(request, body.of(model), headers)


async def _embed(request: Request, body: EmbeddingRequest, headers: dict[str, str]) -> Response:
    gateway = gateway_of(request)
    deadline = gateway.deadline()
    size = gateway.settings.embedding_batch_size

    base64 = body.encoding_format == "base64"

    async def embed(number: int, batch: EmbedRequest) -> tuple[bytes, int]:
        """Embed one batch; its entries in the body, made as they come so that many do not come at once."""
        first = number * size
        try:
            response = await gateway.dispatcher.embed(batch, deadline)
        except InferloomError as failure:
            raise fields.restate(failure, fields.of_embedding(first)) from failure
        return embeddings.entries(response, first, base64=base64), response.usage.prompt_tokens

    batches = embeddings.batches(body, request_id_of(request.scope), size)
    async with AbortOnDisconnect(request.receive):
        done = await together([embed(*numbered) for numbered in enumerate(batches)], _MOST_AT_ONCE)
    parts, tokens = zip(*done, strict=True)
    answer = embeddings.answer(body.model, parts, sum(tokens))
    return Response(answer, headers=headers, media_type="application/json")
