"""Vectors become parts that any client can receive."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferloom_worker.embed.response import MAX_PART_BYTES, embed_part, parts
from inferloom_worker.validate.embed import EmbeddingRequest


def asked(dimensions: int) -> EmbeddingRequest:
    """A request for vectors of some length."""
    return EmbeddingRequest(
        request_id="r", inputs=["x"], dimensions=dimensions, normalize=False, truncate=False
    )


@given(rows=st.integers(1, 3000), dimensions=st.sampled_from([1, 2, 384, 4096, 2**18, 2**19]))
def test_parts_are_at_most_a_mebibyte_or_one_vector(rows: int, dimensions: int) -> None:
    """Together they hold every row once, in order."""
    rows = min(rows, 2**21 // dimensions + 1)
    vectors = np.arange(rows, dtype=np.float32).repeat(dimensions).reshape(rows, dimensions)
    texts = [[1]] * rows
    seen: list[float] = []
    for run in parts(vectors, asked(dimensions)):
        part = embed_part(asked(dimensions), texts, run.start, vectors[run])
        assert part.ByteSize() <= MAX_PART_BYTES or len(part.part.embeddings) == 1
        assert part.part.first_input == len(seen)
        seen += [float(np.frombuffer(item.vector, "<f4")[0]) for item in part.part.embeddings]
    assert seen == pytest.approx(range(rows))
