"""Vectors of embedding models in the forms that are found in the wild."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from inferloom_worker.embed.model import SentenceModel
from inferloom_worker.embed.options import EmbedOptions
from inferloom_worker.embed.vectors import finish
from tests.worker.embedding_models import FORMS
from tests.worker.texts import TEXTS

WORDS = [text for text in TEXTS if len(text.encode()) < 200]


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """The cosine of each pair of rows."""
    products: NDArray[np.float32] = np.sum(
        finish(a, dimensions=a.shape[1], normalize=True) * finish(b, dimensions=b.shape[1], normalize=True),
        axis=1,
    )
    return products


@pytest.mark.parametrize("form", FORMS)
def test_pooling_projections_and_prompts_are_the_folders_own(
    form: Callable[[Path], Path], tmp_path: Path
) -> None:
    """As sentence-transformers computes them: cosine of 0.9999 in float32, 0.9995 in bfloat16, whose lengths
    are unit only where the folder says so."""
    folder = form(tmp_path)
    reference = SentenceTransformer(str(folder), device="cpu")
    expected = reference.encode(WORDS)
    for dtype, least in (("float32", 0.9999), ("bfloat16", 0.9995)):
        model = SentenceModel(folder, EmbedOptions(device="cpu", dtype=dtype))
        rows = model.encode([model.reader.read("input", text, truncate=False) for text in WORDS])

        assert model.info.dtype == dtype
        assert model.info.dimensions == rows.shape[1] == expected.shape[1]
        assert cosines(rows, expected).min() >= least
        finished = finish(rows, dimensions=rows.shape[1], normalize=model.info.normalizes)
        np.testing.assert_allclose(
            np.linalg.norm(finished, axis=1), np.linalg.norm(expected, axis=1), rtol=0.01
        )
