"""The kernels' encoder against transformers' BERT."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import BertConfig, BertModel

from inferloom_worker.embed.bert import BertShape
from inferloom_worker.embed.encoder_loading import KernelModel
from inferloom_worker.embed.model import SentenceModel
from inferloom_worker.embed.native import NativeEncoder
from inferloom_worker.embed.options import EmbedOptions
from inferloom_worker.kernels.library import library

pytestmark = pytest.mark.skipif(library() is None, reason="this machine runs on torch alone")

POOLING: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda rows: rows.mean(0),
    "cls": lambda rows: rows[0],
    "lasttoken": lambda rows: rows[-1],
}


@pytest.fixture(scope="module")
def model() -> BertModel:
    """A small random BERT."""
    torch.manual_seed(4)
    config = BertConfig(
        vocab_size=200,
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=160,
        max_position_embeddings=64,
    )
    made = BertModel(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


@pytest.fixture(scope="module")
def texts() -> list[list[int]]:
    """Token ids of several lengths, one token and the longest among them."""
    rng = np.random.default_rng(1)
    return [rng.integers(0, 200, length).tolist() for length in (1, 64, 16, 17, 3, 40)]


class ModelWeights:
    """The tensors of a model in memory."""

    def __init__(self, model: BertModel) -> None:
        self.tensors = model.state_dict()

    def find(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """See the protocol."""
        values: NDArray[np.float32] = self.tensors[name].numpy()
        assert values.shape == shape
        return values


def encoder(model: BertModel, pooling: str) -> NativeEncoder:
    """The kernels' encoder of a model."""
    config = model.config
    shape = BertShape(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        intermediate=config.intermediate_size,
        vocab=config.vocab_size,
        positions=config.max_position_embeddings,
        token_types=config.type_vocab_size,
        norm_eps=config.layer_norm_eps,
    )
    return NativeEncoder(shape, pooling, ModelWeights(model), threads=2)


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine of each pair of rows."""
    result: NDArray[np.float32] = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return result


@pytest.mark.parametrize("pooling", POOLING)
def test_vectors_are_transformers_own(pooling: str, model: BertModel, texts: list[list[int]]) -> None:
    """Every kind of pooling gives transformers' rows, to the rounding of weights."""
    with torch.inference_mode():
        hidden = [model(torch.tensor([text])).last_hidden_state[0] for text in texts]
    expected = np.stack([POOLING[pooling](rows).numpy() for rows in hidden])
    assert cosines(encoder(model, pooling).encode(texts), expected).min() > 0.9995


def test_segments_are_transformers_own(model: BertModel, texts: list[list[int]]) -> None:
    """Each token has the embedding of its kind."""
    rng = np.random.default_rng(2)
    segments = [rng.integers(0, 2, len(text)).tolist() for text in texts]
    with torch.inference_mode():
        hidden = [
            model(torch.tensor([text]), token_type_ids=torch.tensor([kinds])).last_hidden_state[0, 0]
            for text, kinds in zip(texts, segments, strict=True)
        ]
    native = encoder(model, "cls")
    vectors = native.encode(texts, segments)
    assert cosines(vectors, torch.stack(hidden).numpy()).min() > 0.9995
    assert not np.array_equal(vectors, native.encode(texts))


def test_a_text_is_the_same_bit_for_bit_alone_and_among_others(
    model: BertModel, texts: list[list[int]]
) -> None:
    """Packing changes nothing, nor does what was encoded before."""
    native = encoder(model, "mean")
    together = native.encode(texts)
    alone = np.concatenate([native.encode([text]) for text in reversed(texts)])[::-1]
    assert np.array_equal(together, alone)


def test_the_weights_are_as_large_as_what_was_handed_over(model: BertModel) -> None:
    """Two bytes and a group's scale for a weight of a matrix, four for any other."""
    matrices = sum(p.numel() for name, p in model.named_parameters() if name.endswith("dense.weight"))
    matrices += sum(p.numel() for name, p in model.named_parameters() if ".self." in name and p.ndim == 2)
    matrices -= model.pooler.dense.weight.numel()
    others = sum(p.numel() for p in model.parameters()) - matrices
    others -= sum(p.numel() for p in model.pooler.parameters())
    least = 2 * matrices + 4 * others
    assert least <= encoder(model, "mean").weights_bytes <= least + 4 * matrices // 32


def test_the_demo_model_is_close_to_float32(minilm_folder: Path) -> None:
    """All-MiniLM-L6-v2 in the kernels is within 0.9999 of sentence-transformers in float32."""
    exact = SentenceModel(minilm_folder, EmbedOptions(dtype="float32"))
    native = KernelModel(minilm_folder, EmbedOptions())
    assert exact.info.dtype == "float32"
    assert native.info.dtype == "bfloat16"
    words = ["a", "The capital of France is Paris.", "naïve café 東京 🙂", "12 + 30 = 42", "word " * 200]
    ids = [exact.reader.tokens(text) for text in words]
    assert cosines(native.encode(ids), exact.encode(ids)).min() > 0.9999
