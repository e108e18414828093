"""``inferloom embed``: vectors for texts."""

import json
import sys
from array import array
from collections.abc import Sequence

from rich.table import Table

from inferloom.v1.inference_pb2 import TASK_EMBED, Embedding, EmbedInput, EmbedRequest
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_cli.calls import calling
from inferloom_cli.credentials import NOTHING, Credentials
from inferloom_cli.model_choice import choose
from inferloom_cli.models import list_models
from inferloom_cli.terminal import terminal
from inferloom_mesh.net import Address

_DEADLINE_S = 300.0
_PREVIEW = 6


async def embed(
    gateway: Address,
    model: str | None,
    texts: Sequence[str],
    *,
    dimensions: int | None,
    as_json: bool,
    shown: Credentials = NOTHING,
) -> None:
    """Print one vector for each text: whole as JSON, or its beginning in a table."""
    async with calling("gateway", gateway, shown) as channel:
        stub = InferenceServiceStub(channel)
        request = EmbedRequest(
            model=choose(await list_models(channel), TASK_EMBED, model).id,
            inputs=[EmbedInput(text=text) for text in texts],
            dimensions=dimensions,
        )
        vectors = [
            _unpack(embedding)
            async for event in stub.Embed(request, timeout=_DEADLINE_S)
            for embedding in event.part.embeddings
        ]
    if as_json:
        print(json.dumps([vector.tolist() for vector in vectors]))
    else:
        terminal().print(_preview(texts, vectors))


def _unpack(embedding: Embedding) -> "array[float]":
    """A vector's little-endian float32 numbers."""
    vector = array("f", embedding.vector)
    if sys.byteorder == "big":
        vector.byteswap()
    return vector


def _preview(texts: Sequence[str], vectors: Sequence["array[float]"]) -> Table:
    made = Table(box=None, header_style="bold", pad_edge=False)
    made.add_column("TEXT", overflow="ellipsis", no_wrap=True, max_width=40)
    made.add_column("LENGTH", justify="right")
    made.add_column("VECTOR", no_wrap=True)
    for text, vector in zip(texts, vectors, strict=True):
        start = " ".join(f"{number:+.3f}" for number in vector[:_PREVIEW])
        made.add_row(text, str(len(vector)), f"{start} …")
    return made
