"""The real encoder."""

import json
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from inferloom_worker.embed.model import SentenceModel
from inferloom_worker.embed.options import EmbedOptions
from inferloom_worker.embed.vectors import finish
from tests.worker.embedding_models import bert
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


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(tmp_path: Path) -> None:
    """By both numbers: texts with the others would be computed from something else, or not at all."""
    folder = bert(tmp_path)
    kept = json.loads((folder / "tokenizer.json").read_text())
    kept["model"]["vocab"] |= {f"q{i}": 258 + i for i in range(10)}
    (folder / "tokenizer.json").write_text(json.dumps(kept))

    with pytest.raises(ValueError, match="268 tokens, and the model has embeddings for 258"):
        SentenceModel(folder, EmbedOptions(device="cpu"))
