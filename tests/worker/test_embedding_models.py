"""Vectors of embedding models in the forms that are found in the wild."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding

from inferloom_mesh.errors import InferloomError
from inferloom_worker.embed.model import SentenceModel
from inferloom_worker.embed.options import EmbedOptions
from inferloom_worker.embed.vectors import finish
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.model_loading import load_model
from tests.worker.embedding_models import FORMS, bert
from tests.worker.folder_changes import edit
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


@pytest.mark.parametrize("model_type", ["roberta", "xlm-roberta", "camembert", "mpnet"])
def test_positions_begin_after_the_padding_token(model_type: str, tmp_path: Path) -> None:
    """A table of 66 rows has positions for 64 tokens: a text of as many is computed, a longer one refused."""
    folder = bert(tmp_path / "base")  # for its tokenizer
    sizes = {"vocab_size": 258, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1}
    config = AutoConfig.for_model(
        model_type, **sizes, num_attention_heads=4, max_position_embeddings=66, pad_token_id=1
    )
    AutoModel.from_config(config).save_pretrained(folder)
    model = SentenceModel(folder, EmbedOptions(device="cpu", dtype="float32"))

    assert model.info.max_tokens == 64
    assert np.isfinite(model.encode([[5] * 64])).all()
    with pytest.raises(InferloomError):
        model.reader.read("input", [5] * 65, truncate=False)


def test_a_tokenizer_without_a_limit_sets_none(tmp_path: Path) -> None:
    """T5 has no table of positions, and its tokenizer says 1e30; the card has a number that it can hold."""
    folder = bert(tmp_path / "base")
    config = AutoConfig.for_model(
        "t5", vocab_size=258, d_model=64, d_kv=16, d_ff=96, num_layers=1, num_heads=4
    )
    AutoModelForTextEncoding.from_config(config).save_pretrained(folder)
    edit("tokenizer_config.json", model_max_length=int(1e30))(folder)
    served = load_model("t5", str(folder), LoadOptions(embed=EmbedOptions(dtype="float32")))
    served.close()

    assert served.card.context_length == 2048
    assert served.card.engine == "sentence-transformers"
