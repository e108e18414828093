"""Vectors as the contract's response."""

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.durations import duration
from inferloom_worker.embed.protocol import Embedded
from inferloom_worker.embed.vectors import finish, pack
from inferloom_worker.validate.embed import EmbeddingRequest


def embed_response(
    asked: EmbeddingRequest, card: pb.Model, texts: list[list[int]], embedded: Embedded
) -> pb.EmbedResponse:
    """Cut, scale and pack the vectors of ``texts``. Megabytes of them take milliseconds."""
    vectors = finish(embedded.vectors, dimensions=asked.dimensions, normalize=asked.normalize)
    return pb.EmbedResponse(
        model=card.id,
        embeddings=[
            pb.Embedding(vector=vector, prompt_tokens=len(text))
            for vector, text in zip(pack(vectors), texts, strict=True)
        ],
        usage=pb.Usage(prompt_tokens=sum(map(len, texts))),
        timings=pb.Timings(
            queue=duration(embedded.queue_s), prefill=duration(embedded.compute_s), decode=duration(0)
        ),
        compute_hash=card.compute_hash,
    )
