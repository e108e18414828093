"""The kernels against eager torch on the numbers that the quantised weights stand for."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForCausalLM

from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.kernels.library import library
from inferloom_worker.models.config import DecoderConfig
from inferloom_worker.models.config_gguf import from_gguf
from inferloom_worker.models.config_transformers import from_transformers
from inferloom_worker.models.llama import LlamaModel
from inferloom_worker.models.native import NativeModel
from inferloom_worker.stepping.batch import Span, StepBatch
from inferloom_worker.stepping.sampler import TorchChooser
from inferloom_worker.weights.bfloat16 import round_bfloat16
from inferloom_worker.weights.checkpoint import FolderCheckpoint, GgufCheckpoint, StoredTensor
from inferloom_worker.weights.gguf import GgufTensor, read_gguf
from inferloom_worker.weights.groups import (
    Groups,
    Kind,
    can_read,
    quantize_int4,
    quantize_int8,
    quantize_int12,
    read_groups,
)
from inferloom_worker.weights.matrix import Matrix
from inferloom_worker.weights.sources import GgufSource, RoundedSource
from tests.worker.gguf_files import write_gguf
from tests.worker.models import reference

CPU = torch.device("cpu")
Rounding = Callable[[NDArray[np.float32]], Matrix]

needs_kernels = pytest.mark.skipif(library() is None, reason="this machine runs on torch alone")


def wide_scales(rounding: Rounding, kind: Kind) -> Rounding:
    """The same rounding in the kind with float32 scales."""

    def run(weights: NDArray[np.float32]) -> Groups:
        groups = rounding(weights)
        assert isinstance(groups, Groups)
        scales = groups.scales.repeat(2, axis=1) if kind is Kind.Q8F else groups.scales
        return Groups(kind, groups.q, scales, groups.offsets)

    return run


ALL_ROUNDINGS: dict[str, Rounding] = {
    "Q4": quantize_int4,
    "Q4F": wide_scales(quantize_int4, Kind.Q4F),
    "Q8": quantize_int8,
    "Q8F": wide_scales(quantize_int8, Kind.Q8F),
    "BF16": round_bfloat16,
    "Q12": quantize_int12,
}


ROUNDINGS = {
    name: rounding
    for name, rounding in ALL_ROUNDINGS.items()
    if (loaded := library()) is None or loaded.il_holds(Kind[name])
}
"""Those that this machine's library computes."""


class Rounded:
    """A checkpoint whose matrices are rounded and expanded again."""

    def __init__(self, checkpoint: FolderCheckpoint, rounding: Rounding) -> None:
        self.checkpoint, self.rounding = checkpoint, rounding

    def names(self) -> Iterable[str]:
        """Those of the checkpoint."""
        return self.checkpoint.names()

    def stored(self, name: str) -> StoredTensor | None:
        """As in the checkpoint."""
        return self.checkpoint.stored(name)

    def find(self, name: str) -> torch.Tensor | None:
        """The tensor as the kernels see it."""
        found = self.checkpoint.find(name)
        if found is None or found.ndim < 2:
            return found
        return torch.from_numpy(self.rounding(found.float().numpy()).dequantized())


def make(folder: Path, model_type: str, **fields: object) -> tuple[DecoderConfig, FolderCheckpoint]:
    """A random model in widths that the kernels take; the vocabulary is no whole number of tiles."""
    torch.manual_seed(11)
    config = AutoConfig.for_model(
        model_type,
        **{
            "vocab_size": 203,
            "hidden_size": 96,
            "intermediate_size": 160,
            "num_hidden_layers": 3,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": 512,
            "tie_word_embeddings": False,
            **fields,
        },
    )
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    shape = from_transformers(config)
    assert shape is not None
    return shape, FolderCheckpoint(folder)


def batch(tokens: list[int], start: int, blocks: list[int], samples: list[int] | None = None) -> StepBatch:
    """A step of one sequence; every row is sampled unless told otherwise."""
    places = range(start, start + len(tokens))
    rows = list(range(len(tokens))) if samples is None else samples
    return StepBatch(tokens, list(places), [Span(0, len(tokens), places.stop, blocks)], rows)


def tokens(count: int) -> list[int]:
    """Random tokens."""
    drawn: list[int] = np.random.default_rng(5).integers(0, 203, count).tolist()
    return drawn


def both(
    folder: Path, rounding: Rounding, model_type: str, **fields: object
) -> tuple[NativeModel, LlamaModel]:
    """The same rounded model in the kernels and in eager float32."""
    shape, checkpoint = make(folder, model_type, **fields)
    native = NativeModel(shape, RoundedSource(checkpoint, rounding), dtype=torch.int8, threads=2)
    eager = LlamaModel(shape, Rounded(checkpoint, rounding), torch.float32, CPU)
    native.allocate(40)
    eager.allocate(40)
    return native, eager


@needs_kernels
@pytest.mark.parametrize("rounding", ROUNDINGS.values(), ids=ROUNDINGS)
def test_logits_are_those_of_the_expanded_weights(rounding: Rounding, tmp_path: Path) -> None:
    """Every kind of weight gives eager torch's logits, to the rounding of activations and cache."""
    native, eager = both(tmp_path, rounding, "llama")
    step = batch(tokens(100), 0, [7, 3, 9, 1, 0, 20, 21])
    expected, actual = eager.forward(step), native.forward(step)
    assert actual.shape == expected.shape
    assert torch.allclose(actual, expected, atol=0.01)


@needs_kernels
def test_states_are_those_of_the_expanded_weights(tmp_path: Path) -> None:
    """The rows that are wanted, after the last norm."""
    native, eager = both(tmp_path, quantize_int8, "qwen3")
    step = batch(tokens(70), 0, list(range(5)), samples=[3, 69])
    expected, actual = eager.hidden(step), native.hidden(step)
    assert actual.shape == expected.shape == (2, 96)
    assert torch.allclose(actual, expected, atol=0.01)


_LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [1.5, 2.0, 4.0, 6.0],
}
_GEMMA = {"sliding_window": 20, "query_pre_attn_scalar": 24, "tie_word_embeddings": True}
FEATURES: dict[str, tuple[str, dict[str, object]]] = {
    "tied": ("llama", {"tie_word_embeddings": True}),
    "biased": ("qwen2", {}),
    "qk-norm": ("qwen3", {}),
    "window": ("mistral", {"sliding_window": 20}),
    "one-group": ("llama", {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 32}),
    "mlp-biased": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "gemma": ("gemma", {}),
    "gemma2": ("gemma2", {**_GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}),
    "gemma3": (
        "gemma3_text",
        {
            **_GEMMA,
            "sliding_window_pattern": 2,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "rope_theta": 100_000.0, "factor": 4.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1_000.0},
            },
        },
    ),
    "phi3": ("phi3", {"sliding_window": 20, "pad_token_id": None}),
    "longrope": (
        "phi3",
        {
            "pad_token_id": None,
            "partial_rotary_factor": 0.5,
            "original_max_position_embeddings": 128,
            "rope_parameters": _LONG_ROPE,
        },
    ),
    "odd-width": ("llama", {"head_dim": 48, "num_attention_heads": 2, "num_key_value_heads": 2}),
}


@needs_kernels
@pytest.mark.parametrize(("model_type", "fields"), FEATURES.values(), ids=FEATURES)
def test_every_feature_of_the_family(model_type: str, fields: dict[str, object], tmp_path: Path) -> None:
    """Biases, norms, windows, soft caps, rotary embeddings and head shapes come out as in eager torch."""
    native, eager = both(tmp_path, quantize_int8, model_type, **fields)
    step = batch(tokens(70), 0, list(range(5)))
    assert torch.allclose(native.forward(step), eager.forward(step), atol=0.01)


@needs_kernels
def test_matrices_of_one_file_can_be_of_many_types(tmp_path: Path) -> None:
    """Quantised matrices beside float ones, in one layer and one projection, come out as in eager torch."""
    make(tmp_path, "llama")
    model = reference(tmp_path).to(torch.bfloat16)  # so that what is rounded to bfloat16 stays as it is
    types = {
        "attn_q": GGMLQuantizationType.Q4_0,
        "attn_v": GGMLQuantizationType.BF16,
        "ffn_gate": GGMLQuantizationType.F32,
        "ffn_up": GGMLQuantizationType.Q8_0,
        "token_embd": GGMLQuantizationType.Q5_0,
    }
    file = read_gguf(write_gguf(model, tmp_path / "mixed.gguf", types))
    shape, source = from_gguf(file), GgufSource(file)
    assert shape is not None
    assert source.readable()
    assert source.rounded() == ["F32", "Q5_0"]
    native = NativeModel(shape, source, dtype=torch.int8, threads=2)
    eager = LlamaModel(shape, GgufCheckpoint(file), torch.float32, CPU)
    native.allocate(5)
    eager.allocate(5)
    step = batch(tokens(70), 0, list(range(5)))
    assert torch.allclose(native.forward(step), eager.forward(step), atol=0.02)


@needs_kernels
@pytest.mark.parametrize("rounding", ROUNDINGS.values(), ids=ROUNDINGS)
def test_a_row_is_the_same_bit_for_bit_however_it_is_batched(rounding: Rounding, tmp_path: Path) -> None:
    """Whole, in chunks, token by token and beside other sequences, a prompt gives identical logits."""
    native, _ = both(tmp_path, rounding, "llama")
    prompt = tokens(45)
    whole = native.forward(batch(prompt, 0, [0, 1, 2]))
    for cut in (1, 8, 30):
        native.forward(batch(prompt[:cut], 0, [4, 5, 6]))
        assert torch.equal(whole[cut:], native.forward(batch(prompt[cut:], cut, [4, 5, 6])))
    single = [native.forward(batch([t], i, [8, 9, 10]))[0] for i, t in enumerate(prompt)]
    assert torch.equal(whole, torch.stack(single))
    crowd = StepBatch(
        [prompt[-1], *prompt, 5],
        [44, *range(45), 44],
        [Span(0, 1, 45, [8, 9, 10]), Span(1, 45, 45, [11, 12, 13]), Span(46, 1, 45, [0, 1, 2])],
        [0, 45, 46],
    )
    assert torch.equal(native.forward(crowd)[:2], whole[-1].repeat(2, 1))


@needs_kernels
def test_memory_that_was_used_before_does_not_show(tmp_path: Path) -> None:
    """An earlier owner's state in the same blocks does not reach a new sequence."""
    native, _ = both(tmp_path, quantize_int8, "llama")
    clean = native.forward(batch(tokens(20), 0, [1, 2]))
    native.forward(batch(tokens(64), 0, [3, 4, 5, 6]))
    assert torch.equal(clean, native.forward(batch(tokens(20), 0, [4, 3])))


@needs_kernels
def test_the_largest_logit_is_found(tmp_path: Path) -> None:
    """The kernels' argmax is torch's, the first of equals included."""
    native, _ = both(tmp_path, quantize_int8, "llama")
    logits = native.forward(batch(tokens(30), 0, [0, 1]))
    assert native.chooser.argmax(logits) == logits.argmax(-1).tolist()
    logits[:, 50] = logits[:, 10] = 1e9
    assert native.chooser.argmax(logits) == [10] * 30


SETTINGS = [
    Sampling(temperature=1.0),
    Sampling(temperature=0.3),
    Sampling(temperature=1.0, top_k=5),
    Sampling(temperature=1.0, top_k=2**32 - 1),
    Sampling(temperature=1.4, top_p=0.7),
    Sampling(temperature=2.0, top_p=0.999),
    Sampling(temperature=0.8, min_p=0.1),
    Sampling(temperature=2.0, top_k=190, top_p=0.9, min_p=0.001),
]


@needs_kernels
@pytest.mark.parametrize("setting", SETTINGS, ids=repr)
def test_draws_are_torchs(setting: Sampling, tmp_path: Path) -> None:
    """With the same numbers, the kernels draw the tokens that torch draws, banned ones never."""
    native, _ = both(tmp_path, quantize_int8, "llama")
    rng = np.random.default_rng(8)
    logits = torch.from_numpy(rng.normal(scale=4.0, size=(500, 203)).astype(np.float32))
    logits[:, 17] = -torch.inf
    numbers = rng.random(500)
    expected = TorchChooser().draw(logits, [setting] * 500, numbers)
    actual = native.chooser.draw(logits, [setting] * 500, numbers)
    assert 17 not in actual
    # A number can fall on the border of two tokens, where the last bit of a sum decides.
    assert sum(a != e for a, e in zip(actual, expected, strict=True)) <= 1


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q6_K"])
def test_gguf_types_are_read_without_loss(name: str) -> None:
    """Integers, scales and offsets expand to exactly what the gguf package's dequantisation gives."""
    kind = GGMLQuantizationType[name]
    block, size = GGML_QUANT_SIZES[kind]
    rng = np.random.default_rng(2)
    raw = rng.integers(0, 256, (6, 1024 // block, size), dtype=np.uint8)
    halves = {"Q4_0": [0], "Q8_0": [0], "Q4_1": [0, 2], "Q4_K": [0, 2], "Q6_K": [208]}[name]
    for at in halves:  # random bits would make NaN of the float16 fields
        field = rng.normal(size=raw.shape[:2]).astype(np.float16)
        raw[..., at : at + 2] = field.view(np.uint8).reshape(*raw.shape[:2], 2)
    tensor = GgufTensor("weight", kind, (6, 1024), raw.reshape(-1))
    assert np.array_equal(read_groups(tensor).dequantized(), tensor.dequantized())


def test_other_types_are_not_read() -> None:
    """A matrix that the kernels cannot hold is refused beforehand."""
    tensor = GgufTensor("weight", GGMLQuantizationType.F16, (2, 32), np.zeros(128, np.uint8))
    assert not can_read(tensor)
