"""The real encoder."""

from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from inferloom_worker.embed.model import SentenceModel
from inferloom_worker.embed.options import EmbedOptions
from inferloom_worker.embed.vectors import finish
from tests.worker.texts import TEXTS


@pytest.fixture(scope="module")
def model(minilm_folder: Path) -> SentenceModel:
    """MiniLM."""
    return SentenceModel(minilm_folder, EmbedOptions(device="cpu"))


def test_vectors_equal_those_of_sentence_transformers(model: SentenceModel, minilm_folder: Path) -> None:
    """In one padded batch, in float32: cosine of at least 0.9999 for every text."""
    reference = SentenceTransformer(str(minilm_folder), device="cpu").encode(list(TEXTS))
    ids = [model.reader.shorten(model.reader.tokens(text), special=True) for text in TEXTS]
    vectors = finish(model.encode(ids), dimensions=384, normalize=True)

    assert np.all(np.sum(reference * vectors, axis=1) >= 0.9999)


def test_a_text_that_is_cut_keeps_its_closing_token(model: SentenceModel) -> None:
    """The model reads [CLS], as much as fits, and [SEP], as sentence-transformers gives it."""
    ids = model.reader.shorten(model.reader.tokens("word " * 500), special=True)

    assert (len(ids), ids[0], ids[-1]) == (256, 101, 102)
    assert model.reader.shorten([5] * 300, special=False) == [5] * 256


def test_the_model_tells_its_shape(model: SentenceModel) -> None:
    """As its configuration says."""
    assert (model.info.dimensions, model.info.max_tokens, model.info.vocab_size) == (384, 256, 30522)
    assert (model.info.normalizes, model.info.shortens) == (True, False)
