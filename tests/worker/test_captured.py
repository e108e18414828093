"""Steps as recorded graphs, with recorders that work on any device."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engines.torch.engine import TorchEngine
from inferloom_worker.engines.torch.torch_loading import load_model
from inferloom_worker.models.captured import CapturedModel, Graph
from inferloom_worker.models.graph_sizes import GraphSizes, StepSize, block_sizes, row_sizes
from inferloom_worker.models.llama import LlamaModel
from inferloom_worker.models.protocol import EmbeddingModel
from inferloom_worker.stepping.batch import Span, StepBatch
from inferloom_worker.stepping.speculation import MOST_DRAFT_TOKENS
from tests.worker.engines import generate_all, request
from tests.worker.models import make_model

CPU = torch.device("cpu")
BLOCKS = 40


class TracedGraph:
    """A graph of the tensor operations that a piece of work called, run again on the same tensors."""

    replays = 0

    def record(self, work: Callable[[], Tensor]) -> None:
        """See the protocol."""
        self._traced = make_fx(work)()
        work().fill_(torch.nan)

    def replay(self) -> None:
        """See the protocol."""
        TracedGraph.replays += 1
        self._traced()


@pytest.fixture(scope="module", params=["llama", "qwen3", "mistral"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model."""
    return make_model(tmp_path_factory.mktemp("model"), request.param)


def eager(folder: Path) -> LlamaModel:
    """The model, as it is."""
    model = load_model(folder, torch.float32, CPU)
    assert isinstance(model, LlamaModel)
    return model


def captured(folder: Path, max_rows: int = 6) -> CapturedModel:
    """The model, with recorded steps."""
    sizes = GraphSizes(max_rows=max_rows, max_reads=0, max_context=400)
    return CapturedModel(eager(folder), sizes=sizes, new_graph=TracedGraph)


def prefill(count: int, blocks: list[int]) -> StepBatch:
    """A step that reads a prompt."""
    return StepBatch(
        [(7 * n + blocks[0]) % 300 for n in range(count)],
        list(range(count)),
        [Span(0, count, count, blocks)],
        [count - 1],
    )


def decode(contexts: dict[int, list[int]], sampled: list[int] | None = None) -> StepBatch:
    """A step that decodes sequences, given by their contexts, the new token included, and their blocks."""
    spans = [Span(n, 1, context, blocks) for n, (context, blocks) in enumerate(contexts.items())]
    tokens = [11 + n for n in range(len(spans))]
    positions = [span.context - 1 for span in spans]
    return StepBatch(tokens, positions, spans, sampled or list(range(len(spans))))


def test_a_replayed_step_is_the_eager_one(folder: Path) -> None:
    """Whatever the rows, contexts and blocks, padded or not; the same graph serves step after step."""
    plain, recorded = eager(folder), captured(folder)
    plain.allocate(BLOCKS)
    recorded.allocate(BLOCKS)
    prompts = {20: [3, 9], 150: [*range(20, 30)], 33: [1, 2, 0], 5: [12]}
    for count, blocks in prompts.items():
        step = prefill(count, blocks)
        assert torch.equal(recorded.forward(step), plain.forward(step))
    before = TracedGraph.replays
    for offset in (1, 2, 3):
        running = {count + offset: blocks for count, blocks in prompts.items()}
        for chosen in (list(running), list(running)[:3], list(running)[2:]):
            step = decode({context: running[context] for context in chosen})
            logits = recorded.forward(step)
            assert torch.allclose(logits, plain.forward(step), atol=1e-5)
    assert TracedGraph.replays == before + 9


def test_only_the_rows_that_sample_have_logits(folder: Path) -> None:
    """A row of a prompt that is not read to its end yields none."""
    plain, recorded = eager(folder), captured(folder)
    for model in (plain, recorded):
        model.allocate(BLOCKS)
        model.forward(prefill(20, [3, 9]))
        model.forward(prefill(30, [4, 5]))
    step = decode({21: [3, 9], 31: [4, 5]}, sampled=[1])

    assert torch.allclose(recorded.forward(step), plain.forward(step), atol=1e-5)


def test_steps_that_no_graph_is_for_are_eager(folder: Path) -> None:
    """Prompts, more rows than the largest graph has, and longer contexts."""
    recorded = captured(folder, max_rows=2)
    recorded.allocate(BLOCKS)
    before = TracedGraph.replays
    recorded.forward(prefill(20, [3, 9]))
    recorded.forward(decode({21: [3, 9], 22: [5, 6], 23: [7, 8]}))
    recorded.forward(decode({21: [*range(30)]}))

    assert TracedGraph.replays == before


async def test_an_engine_generates_the_same(folder: Path) -> None:
    """Sequences that join and leave between steps get the tokens that eager steps give them."""
    answers = []
    for model in (eager(folder), captured(folder)):
        engine = TorchEngine(model, EngineOptions(max_running=6, max_step_tokens=48), BLOCKS)
        asked = [request([n, 5, 9] * (n + 1), 6 + 3 * n) for n in range(8)]
        answers.append(await generate_all(engine, asked))
        await asyncio.to_thread(engine.close)

    assert answers[0] == answers[1]


def test_vectors_are_the_models_own(folder: Path) -> None:
    """Reading texts is no decoding; it goes past the graphs."""
    plain, recorded = eager(folder), captured(folder)
    assert isinstance(recorded, EmbeddingModel)
    plain.allocate(BLOCKS)
    recorded.allocate(BLOCKS)
    step = prefill(20, [3, 9])

    assert torch.equal(recorded.hidden(step), plain.hidden(step))


class NoRoom:
    """A graph that there is no memory for."""

    def record(self, work: Callable[[], Tensor]) -> None:
        """See the protocol."""
        raise torch.OutOfMemoryError("CUDA out of memory")

    def replay(self) -> None:
        """Nothing was recorded."""
        raise AssertionError


def test_without_memory_for_a_graph_its_steps_are_eager(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are recorded, and the log says what is lacking."""
    plain, before = eager(folder), TracedGraph.replays
    made: Iterator[Graph] = chain([NoRoom()], iter(TracedGraph, None))
    sizes = GraphSizes(max_rows=2, max_reads=0, max_context=400)
    recorded = CapturedModel(eager(folder), sizes=sizes, new_graph=made.__next__)
    plain.allocate(BLOCKS)
    recorded.allocate(BLOCKS)
    recorded.prepare()
    for model in (plain, recorded):
        model.forward(prefill(20, [3, 9]))
    for step in (decode({21: [3, 9]}), decode({21: [3, 9], 1: [4]})):
        assert torch.allclose(recorded.forward(step), plain.forward(step), atol=1e-5)

    assert TracedGraph.replays == before + 1
    assert "no memory for graphs of 1 of 2 sizes" in caplog.text


def test_drafts_fit() -> None:
    """One sequence with the longest draft that there is, and many with short ones."""
    sizes = GraphSizes(max_rows=64, max_reads=512, max_context=400)
    for count, rows in ((1, MOST_DRAFT_TOKENS + 1), (20, 3)):
        spans = [Span(n * rows, rows, 40, [0] * 3) for n in range(count)]
        total = count * rows
        batch = StepBatch([1] * total, [0] * total, spans, list(range(total)))
        assert sizes.fit(batch) is not None


@given(most=st.integers(1, 300))
def test_every_step_has_a_size(most: int) -> None:
    """Sizes rise to exactly the largest step."""
    for sizes in (row_sizes(most), block_sizes(most)):
        assert sizes == sorted(set(sizes))
        assert sizes[-1] == most


@given(
    decodes=st.integers(0, 12),
    chunks=st.lists(st.integers(2, 90), max_size=20),
    scored=st.booleans(),
    blocks=st.integers(6, 25),
)
def test_a_step_fits_into_its_size(decodes: int, chunks: list[int], scored: bool, blocks: int) -> None:
    """With all of its rows; what fits into none is more than the largest has."""
    sizes = GraphSizes(max_rows=10, max_reads=300, max_context=400)
    spans = [Span(n, 1, 5, [0] * blocks) for n in range(decodes)]
    for count in chunks:
        spans.append(Span(spans[-1].start + spans[-1].count if spans else 0, count, count, [0] * blocks))
    reads = sum(chunks)
    if not spans:
        return
    wanted = list(range(decodes + reads)) if scored else list(range(decodes))
    batch = StepBatch([1] * (decodes + reads), [0] * (decodes + reads), spans, wanted)
    size = sizes.fit(batch)
    if size is None:
        most = StepSize(256, 10, 25)
        assert decodes > 10 or reads > 256 or len(chunks) > most.chunks or len(wanted) > decodes
    else:
        assert size in set(sizes)
        assert (size.reads > 0) == bool(chunks)
        assert size.rows >= decodes
        assert size.reads >= reads
        assert size.blocks >= blocks
        assert size.chunks >= len(chunks)
        assert len(wanted) <= size.samples <= sizes.samples
