"""Vectors as the contract's events."""

from collections.abc import Iterator

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.embed.vector_stream import Vectors
from inferloom_worker.embed.vectors import finish, pack
from inferloom_worker.validate.embed import EmbeddingRequest

MAX_PART_BYTES = 2**20
"""Most bytes of one part: what every client can receive, and no single message holds up a connection."""

_ENTRY_BYTES = 24
"""What one embedding takes beside its numbers, at most."""


def parts(vectors: Vectors, asked: EmbeddingRequest) -> Iterator[slice]:
    """Cut rows into runs that fit one part each."""
    rows = max(1, (MAX_PART_BYTES - _ENTRY_BYTES) // (4 * asked.dimensions + _ENTRY_BYTES))
    for start in range(0, len(vectors), rows):
        yield slice(start, start + rows)


def embed_part(
    asked: EmbeddingRequest, texts: list[list[int]], first: int, vectors: Vectors
) -> pb.EmbedResponse:
    """Cut, scale and pack rows, the first of which is that of ``texts[first]``."""
    packed = pack(finish(vectors, dimensions=asked.dimensions, normalize=asked.normalize))
    return pb.EmbedResponse(
        part=pb.EmbedPart(
            first_input=first,
            embeddings=[
                pb.Embedding(vector=vector, prompt_tokens=len(texts[first + offset]))
                for offset, vector in enumerate(packed)
            ],
        )
    )
