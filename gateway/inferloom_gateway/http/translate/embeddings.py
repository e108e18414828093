"""POST /v1/embeddings: the body to batches, and their vectors to one body."""

from base64 import b64encode
from collections.abc import Sequence

import numpy as np
import orjson

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.embeddings import EmbeddingRequest
from inferloom_gateway.http.schema.prompts import Prompt


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


def entries(response: pb.EmbedResponse, first: int, *, base64: bool) -> bytes:
    """The entries of ``data`` for one batch, whose first input has the index ``first``: JSON, with a comma
    between each two.

    Numbers have the fewest digits that give the same float32 again.
    """
    data = [
        {
            "object": "embedding",
            "index": first + offset,
            "embedding": b64encode(item.vector).decode() if base64 else np.frombuffer(item.vector, "<f4"),
        }
        for offset, item in enumerate(response.embeddings)
    ]
    return orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]


def answer(model: str, entries: Sequence[bytes], tokens: int) -> list[bytes]:
    """The parts of the response body, one for each batch's entries: together they may be megabytes."""
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    parts = [b"," + part for part in entries]
    parts[0] = b'{"object":"list","data":[' + entries[0]
    parts[-1] += b"]," + orjson.dumps({"model": model, "usage": usage})[1:]
    return parts


def _input(item: Prompt) -> pb.EmbedInput:
    if isinstance(item, str):
        return pb.EmbedInput(text=item)
    return pb.EmbedInput(token_ids=pb.TokenIds(ids=item))
