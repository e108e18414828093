"""The fused operations against those in torch: on a GPU where there is one, elsewhere interpreted."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig

from inferloom_worker.models.cache import PagedCache
from inferloom_worker.models.captured import CapturedModel
from inferloom_worker.models.config import Activation
from inferloom_worker.models.config_transformers import from_transformers
from inferloom_worker.models.fused import trial
from inferloom_worker.models.fused.operations import FusedOperations
from inferloom_worker.models.graph_sizes import GraphSizes
from inferloom_worker.models.llama import LlamaModel
from inferloom_worker.models.operations import AttentionShape, Operations, TorchOperations
from inferloom_worker.stepping.batch import Span, StepBatch
from inferloom_worker.weights.checkpoint import FolderCheckpoint
from tests.worker.models import make_model

# NumPy, which interprets, warns of what floats of rows of padding come to, whose memory nobody wrote.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
FUSED, TORCH = FusedOperations(), TorchOperations()
BOTH: tuple[Operations, Operations] = FUSED, TORCH
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CLOSE = {torch.float32: 1e-6, torch.bfloat16: 4e-3 if DEVICE.type == "cuda" else 2e-2}
"""How far apart two computations are, of the length of the result: a rounding that fell the other way. The
interpreter cuts numbers off where a GPU rounds them."""


SMALL = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
"""An interpreter takes its time."""


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random numbers of about one."""
    return torch.randn(*shape, dtype=torch.float32).to(DEVICE, dtype)


def distance(mine: Tensor, theirs: Tensor) -> float:
    """Of two results, in lengths of the second."""
    assert mine.dtype == theirs.dtype
    return float((mine.double() - theirs.double()).norm() / theirs.double().norm())


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(5)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("width", [48, 576, 2304])
@pytest.mark.parametrize("wide_weight", [False, True])
def test_norms(width: int, dtype: torch.dtype, wide_weight: bool) -> None:
    """Alone, and after a sum whose change may be normed first."""
    x, change = numbers(5, width, dtype=dtype), numbers(5, width, dtype=dtype)
    weights = [numbers(width, dtype=torch.float32 if wide_weight else dtype) for _ in range(2)]
    assert distance(FUSED.norm(x, weights[0], 1e-6), TORCH.norm(x, weights[0], 1e-6)) < CLOSE[dtype]
    for first in (None, weights[1]):
        ours = FUSED.add_and_norm(x, change, first, weights[0], 1e-6)
        for mine, theirs in zip(ours, TORCH.add_and_norm(x, change, first, weights[0], 1e-6), strict=True):
            assert distance(mine, theirs) < CLOSE[dtype]


def test_of_no_rows() -> None:
    """A step that only reads a part of a prompt wants the logits of none."""
    x, weight = numbers(0, 48), numbers(48)
    total, normed = FUSED.add_and_norm(x, x, None, weight, 1e-6)
    assert total.shape == normed.shape == FUSED.norm(x, weight, 1e-6).shape == (0, 48)


@pytest.mark.parametrize("activation", ["silu", "gelu_tanh"])
@pytest.mark.parametrize("width", [96, 1500])
def test_gates(activation: Activation, width: int) -> None:
    """Both activations, of widths that fill no block."""
    x = 3 * numbers(7, 2 * width)
    torch.testing.assert_close(FUSED.gate(x, activation), TORCH.gate(x, activation), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("heads", "kv_heads", "width", "rotated"), [(6, 2, 8, 8), (4, 4, 80, 40), (3, 1, 64, 64)]
)
@pytest.mark.parametrize("normed", [False, True])
def test_rotation(heads: int, kv_heads: int, width: int, rotated: int, normed: bool) -> None:
    """Queries come back, keys and values lie in their blocks; nothing else there changes."""
    tokens, blocks = 9, 5
    qkv = numbers(tokens, (heads + 2 * kv_heads) * width)
    norms = (numbers(width), numbers(width)) if normed else (None, None)
    angles = 50 * numbers(tokens, rotated // 2)
    rotation = (torch.cat((angles, angles), 1).cos(), torch.cat((angles, angles), 1).sin())
    slots = torch.randperm(blocks * 16)[:tokens].to(DEVICE)
    caches = [PagedCache([(kv_heads, width)], blocks, torch.float32, DEVICE) for _ in range(2)]
    for cache in caches:
        cache.keys[0].fill_(7.0)
        cache.values[0].fill_(8.0)
    mine, theirs = (
        operations.rotate_and_store(qkv, norms, 1e-6, rotation, cache, 0, slots)
        for operations, cache in zip(BOTH, caches, strict=True)
    )
    torch.testing.assert_close(mine, theirs, atol=3e-6, rtol=1e-5)
    torch.testing.assert_close(caches[0].keys, caches[1].keys, atol=3e-6, rtol=1e-5)
    assert torch.equal(caches[0].values[0], caches[1].values[0])


SHAPES = {
    "plain": AttentionShape(0.3),
    "window": AttentionShape(0.3, window=24),
    "softcap": AttentionShape(0.3, softcap=2.0),
    "both": AttentionShape(0.2, window=70, softcap=1.0),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(("heads", "kv_heads", "width"), [(6, 2, 8), (4, 4, 80)])
def test_attention(shape: AttentionShape, heads: int, kv_heads: int, width: int) -> None:
    """Rows that decode beside chunks of prompts, whole and in parts, over blocks in any order."""
    counts = [(1, 1), (1, 16), (1, 300), (1, 513), (70, 70), (3, 19), (130, 290), (2, 2)]
    blocks = iter(torch.randperm(120).tolist())
    spans, start = [], 0
    for count, context in counts:
        spans.append(Span(start, count, context, [next(blocks) for _ in range(-(-context // 16))]))
        start += count
    cache = PagedCache([(kv_heads, width)], 120, torch.float32, DEVICE)
    # What was in a block before must not be seen.
    cache.keys[0].fill_(torch.nan)
    cache.values[0].fill_(torch.nan)
    for span in spans:
        for place in range(span.context):
            cache.keys[0][span.blocks[place // 16], :, place % 16] = numbers(kv_heads, width)
            cache.values[0][span.blocks[place // 16], :, place % 16] = numbers(kv_heads, width)
    batch = StepBatch([0] * start, [0] * start, spans, [], DEVICE)
    query = numbers(start, heads, width)
    expected = TORCH.attend(query, clean(cache), 0, batch, shape)
    mixed = FUSED.attend(query, cache, 0, batch, shape)
    torch.testing.assert_close(mixed, expected, atol=1e-5, rtol=1e-5)
    only = replace(batch, spans=spans[:4], tokens=[0] * 4, positions=[0] * 4)
    assert torch.equal(FUSED.attend(query[:4], cache, 0, only, shape), mixed[:4])


def test_a_gpu_that_cannot_run_them_is_found_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the compiler raises; the log has its words."""
    assert trial.runs(6, [(2, 8), (2, 8)], torch.float32, DEVICE)

    def compile_fails(*_: object) -> Tensor:
        raise RuntimeError("out of resource: shared memory")

    monkeypatch.setattr(FusedOperations, "attend", compile_fails)
    assert not trial.runs(6, [(2, 8)], torch.float32, DEVICE)
    assert "out of resource: shared memory" in caplog.text


def clean(cache: PagedCache) -> PagedCache:
    """The same without what is no number, which eager attention may not meet among a prompt's blocks."""
    blocks, kv_heads, _, width = cache.keys[0].shape
    copy = PagedCache([(kv_heads, width)], blocks, torch.float32, DEVICE)
    copy.keys[0].copy_(cache.keys[0].nan_to_num())
    copy.values[0].copy_(cache.values[0].nan_to_num())
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["qwen3", "gemma2", "phi3-partial"])
def test_models(architecture: str, tmp_path: Path) -> None:
    """Logits of whole models: a prompt in two chunks, then steps that decode."""
    folder = make_model(tmp_path, architecture, **SMALL)
    config = from_transformers(AutoConfig.from_pretrained(folder), None)
    assert config is not None
    models = [
        LlamaModel(config, FolderCheckpoint(folder), torch.float32, DEVICE, operations) for operations in BOTH
    ]
    blocks = [5, 0, 7, 2, 3]
    steps = [(0, 40, []), (40, 24, [63]), (64, 1, [64])]
    for model in models:
        model.allocate(8)
    for first, count, wanted in steps:
        places = list(range(first, first + count))
        batch = StepBatch(
            [(7 * place) % 300 for place in places],
            places,
            [Span(0, count, first + count, blocks)],
            [w - first for w in wanted],
            DEVICE,
        )
        mine, theirs = (model.forward(batch) for model in models)
        torch.testing.assert_close(mine, theirs, atol=2e-4, rtol=1e-4)


class Again:
    """A graph whose replay is its work, once more: the work reads what changes from tensors that stay."""

    def record(self, work: Callable[[], Tensor]) -> None:
        """See the protocol."""
        self._work = work

    def replay(self) -> None:
        """See the protocol."""
        self._work()


@pytest.mark.slow
def test_recorded_steps_with_prompts(tmp_path: Path) -> None:
    """Chunks beside rows that decode, in graphs of larger sizes, filled with other steps before."""
    folder = make_model(tmp_path, "qwen3", **SMALL)
    config = from_transformers(AutoConfig.from_pretrained(folder), None)
    assert config is not None
    fused, plain = (
        LlamaModel(config, FolderCheckpoint(folder), torch.float32, DEVICE, operations) for operations in BOTH
    )
    sizes = GraphSizes(max_rows=4, max_reads=128, max_context=256)
    recorded = CapturedModel(fused, sizes=sizes, new_graph=Again)
    a, b, c = [5, 0, 9], [7, 2, 3, 11, 4, 6, 8], [10]
    steps = [
        ([(40, 40, a)], []),
        ([(1, 41, a), (70, 70, b)], [0]),
        ([(1, 42, a), (30, 100, b), (5, 5, c)], [0, 30, 31, 32, 33, 34, 35]),
        ([(1, 6, c), (1, 101, b), (1, 43, a)], [1, 2]),
        ([(3, 104, b), (2, 8, c)], [2, 3, 4]),
    ]
    for model in (recorded, plain):
        model.allocate(12)
    for parts, wanted in steps:
        spans: list[Span] = []
        places: list[int] = []
        for count, context, blocks in parts:
            spans.append(Span(len(places), count, context, blocks))
            places.extend(range(context - count, context))
        batch = StepBatch([(7 * place) % 300 for place in places], places, spans, wanted, DEVICE)
        assert sizes.fit(batch) is not None
        torch.testing.assert_close(recorded.forward(batch), plain.forward(batch), atol=2e-4, rtol=1e-4)
