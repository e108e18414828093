"""POST /v1/embeddings: the body to batches, and their vectors to one body."""

import struct
from base64 import b64encode
from collections.abc import Sequence

import orjson

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.schema.embeddings import EmbeddingRequest
from inferloom_gateway.schema.prompts import Prompt


def batches(body: EmbeddingRequest, request_id: str, size: int) -> list[pb.EmbedRequest]:
    """Requests of at most ``size`` inputs each, in the order of the inputs."""
    starts = range(0, len(body.input), size)
    return [
        pb.EmbedRequest(
            model=body.model,
            request_id=request_id if len(starts) == 1 else f"{request_id[:120]}.{number}",
            inputs=[_input(item) for item in body.input[start : start + size]],
            dimensions=body.dimensions,
        )
        for number, start in enumerate(starts)
    ]


def answer(body: EmbeddingRequest, responses: Sequence[pb.EmbedResponse]) -> bytes:
    """The response body."""
    base64 = body.encoding_format == "base64"
    vectors = [item.vector for response in responses for item in response.embeddings]
    tokens = sum(response.usage.prompt_tokens for response in responses)
    return orjson.dumps(
        {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": b64encode(vector).decode() if base64 else _floats(vector),
                }
                for index, vector in enumerate(vectors)
            ],
            "model": body.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def _input(item: Prompt) -> pb.EmbedInput:
    if isinstance(item, str):
        return pb.EmbedInput(text=item)
    return pb.EmbedInput(token_ids=pb.TokenIds(ids=item))


def _floats(vector: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(vector) // 4}f", vector)
