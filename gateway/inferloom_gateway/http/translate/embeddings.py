"""POST /v1/embeddings: the body to batches, and their vectors to one body."""

from base64 import b64encode
from collections.abc import Iterator, Sequence

import numpy as np
import orjson

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.embeddings import EmbeddingRequest
from inferloom_gateway.http.schema.prompts import Prompt

HEAD = b'{"object":"list","data":['
"""The body up to the first entry."""

_PIECE_BYTES = 64 * 2**10
"""Vectors that become JSON at once."""


def batches(body: EmbeddingRequest, request_id: str, size: int) -> list[pb.EmbedRequest]:
    """Requests of at most ``size`` inputs each, in the order of the inputs."""
    starts = range(0, len(body.input), size)
    return [
        pb.EmbedRequest(
            model=body.model,
            request_id=request_id if len(starts) == 1 else f"{request_id[:120]}.{number}",
            inputs=[_input(item) for item in body.input[start : start + size]],
            dimensions=body.dimensions,
            normalize=body.normalize,
            truncate=True if body.truncate_prompt_tokens == -1 else body.truncate,
        )
        for number, start in enumerate(starts)
    ]


def entries(embeddings: Sequence[pb.Embedding], first: int, *, base64: bool) -> Iterator[bytes]:
    """The entries of ``data`` for inputs from the index ``first`` on, a comma before each but the very first.

    They come in pieces that take a millisecond or two to make. Numbers have the fewest digits that give the
    same float32 again.
    """
    rows = max(1, _PIECE_BYTES // max(1, len(embeddings[0].vector)))
    for start in range(0, len(embeddings), rows):
        data = [
            {
                "object": "embedding",
                "index": first + start + offset,
                "embedding": b64encode(item.vector).decode() if base64 else np.frombuffer(item.vector, "<f4"),
            }
            for offset, item in enumerate(embeddings[start : start + rows])
        ]
        made = orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
        yield b"," + made if first + start else made


def tail(model: str, tokens: int) -> bytes:
    """The body after the last entry."""
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return b"]," + orjson.dumps({"model": model, "usage": usage})[1:]


def _input(item: Prompt) -> pb.EmbedInput:
    if isinstance(item, str):
        return pb.EmbedInput(text=item)
    return pb.EmbedInput(token_ids=pb.TokenIds(ids=item))
