"""Log-probabilities of prompts: transformers' own, whatever the engine has cached, and whatever else runs."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from inferloom_worker.engine.events import EndReason, PromptEvent, TokenLogprobs, TokensEvent
from inferloom_worker.engine.nothing import submit
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.engines.torch.engine import TorchEngine
from inferloom_worker.engines.torch.torch_loading import kv_blocks, load_causal, load_model
from inferloom_worker.kernels.library import library
from inferloom_worker.models.native import NativeModel
from inferloom_worker.stepping import scoring
from tests.worker.engines import request
from tests.worker.models import VOCABULARY, make_model, reference
from tests.worker.texts import TEXTS

CPU = torch.device("cpu")


def prompt(length: int, seed: int = 5) -> list[int]:
    """A random prompt."""
    rng = random.Random(seed)
    return [rng.randrange(VOCABULARY) for _ in range(length)]


def start(folder: Path, *, general: bool = False, blocks: int | None = None, rows: int = 512) -> TorchEngine:
    """An engine in float32."""
    options = EngineOptions(dtype="float32", kv_cache_bytes=0, max_step_tokens=rows)
    model = load_model(folder, torch.float32, CPU, general=general)
    return TorchEngine(model, options, blocks or 4 * kv_blocks(model, options))


async def read(engine: TorchEngine, asked: GenerationRequest) -> tuple[list[TokenLogprobs], list[list[int]]]:
    """Run a request to its end: what is told of its prompt, and the tokens of its choices. All that is told
    of the prompt comes once, in order."""
    told: list[TokenLogprobs] = []
    tokens: list[list[int]] = [[] for _ in range(asked.n)]
    async for batch in submit(engine, asked).events():
        for event in batch:
            if isinstance(event, PromptEvent):
                assert event.first == len(told) + 1
                told += event.logprobs
            elif isinstance(event, TokensEvent):
                if event.choice == 0 and asked.prompt_logprobs is not None:
                    assert len(told) == len(asked.prompt) - 1
                tokens[event.choice] += event.token_ids
                if not asked.max_tokens:
                    assert event.end is EndReason.LENGTH
    return told, tokens


def expected(model: Any, ids: list[int]) -> torch.Tensor:
    """Transformers' log-probabilities of all tokens after each of the prompt's but the last."""
    with torch.inference_mode():
        found: torch.Tensor = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    return found


def compare(told: list[TokenLogprobs], ids: list[int], rows: torch.Tensor, tolerance: float = 1e-3) -> None:
    """Each token's own log-probability, its alternatives and its rank."""
    own = [float(row[token]) for row, token in zip(rows, ids[1:], strict=True)]
    assert [each.logprob for each in told] == pytest.approx(own, abs=tolerance)
    for each, row, token in zip(told, rows, ids[1:], strict=True):
        values = [value for _, value in each.top]
        assert values == pytest.approx(row.topk(len(values)).values.tolist(), abs=tolerance)
        assert values == pytest.approx([float(row[at]) for at, _ in each.top], abs=tolerance)
        near = (row > row[token] - tolerance).sum(), (row > row[token] + tolerance).sum()
        assert int(near[1]) + 1 <= each.rank <= int(near[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model."""
    return make_model(tmp_path_factory.mktemp("model"), "qwen3")


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    """Transformers' own."""
    return reference(folder)


@pytest.fixture(params=["llama", "general"])
def engine(request: pytest.FixtureRequest, folder: Path) -> Iterator[TorchEngine]:
    """Engines on both paths, which read prompts in chunks."""
    running = start(folder, general=request.param == "general", rows=48)
    yield running
    running.close()


async def test_they_are_transformers_own(engine: TorchEngine, model: Any) -> None:
    """In chunks, side by side with others, and again where the state of the prompt is cached."""
    prompts = [prompt(length, length) for length in (2, 33, 150)]
    rows = [expected(model, ids) for ids in prompts]
    plain = [request(prompt(70, seed), 12) for seed in (1, 2)]
    for _ in range(2):
        asked = [request(ids, 5, prompt_logprobs=3) for ids in prompts]
        found = await asyncio.gather(*(read(engine, each) for each in asked + plain))
        for ids, distribution, (told, tokens) in zip(prompts, rows, found, strict=False):
            compare(told, ids, distribution)
            assert tokens == (await read(engine, request(ids, 5)))[1]


@pytest.mark.parametrize("count", [0, 1])
async def test_no_token_or_one_may_follow(count: int, engine: TorchEngine, model: Any) -> None:
    """Of several choices the prompt is told once."""
    ids = prompt(40)
    told, tokens = await read(engine, request(ids, count, prompt_logprobs=0, n=3))
    compare(told, ids, expected(model, ids))
    assert [len(each) for each in tokens] == [count] * 3
    assert (await read(engine, request(ids[:1], count, prompt_logprobs=0)))[0] == []
    assert engine.load().running == 0


async def test_a_preempted_prompt_is_told_once(folder: Path, model: Any) -> None:
    """With too little memory for everyone, sequences give way, and no place is told twice."""
    engine = start(folder, blocks=33, rows=64)
    prompts = [prompt(150, seed) for seed in range(5)]
    try:
        asked = [request(ids, 60, prompt_logprobs=2) for ids in prompts]
        found = await asyncio.gather(*(read(engine, each) for each in asked))
    finally:
        engine.close()
    for ids, (told, _) in zip(prompts, found, strict=True):
        compare(told, ids, expected(model, ids))


async def test_a_steps_logits_are_bounded(folder: Path, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step computes no more of a prompt's places than it may, and what is beside it goes on."""
    monkeypatch.setattr(scoring, "MOST_BYTES", 20 * 4 * VOCABULARY)
    engine = start(folder)
    seen: list[int] = []
    forward = engine._model.forward

    def watched(batch: Any) -> torch.Tensor:
        seen.append(len(batch.sample_rows))
        return forward(batch)

    monkeypatch.setattr(engine._model, "forward", watched)
    ids = [prompt(90, seed) for seed in (1, 2)]
    try:
        found = await asyncio.gather(
            *(read(engine, request(each, 1, prompt_logprobs=1)) for each in ids),
            read(engine, request(prompt(30), 20)),
        )
    finally:
        engine.close()
    for each, (told, _) in zip(ids, found, strict=False):
        compare(told, each, expected(model, each))
    assert len(found[2][1][0]) == 20
    assert max(seen) <= 20 + 3
    assert sum(seen) >= 2 * 89


def test_a_vocabulary_of_any_size_has_places() -> None:
    """Within the bound in bytes, and at least a few."""
    assert scoring.most_places(128_000) * 128_000 * 4 <= scoring.MOST_BYTES
    assert scoring.most_places(2**30) == scoring.LEAST_PLACES


def test_logits_without_a_number_have_no_entry() -> None:
    """Beside finite ones; what cannot come is told as OpenAI's least value."""
    logits = torch.zeros(2, 5)
    logits[1] = torch.nan
    assert scoring.score(logits, [1, 1], 1) is None
    logits[1] = torch.tensor([0.0, -torch.inf, 0.0, torch.nan, 0.0])
    scores = scoring.score(logits, [1, 1], 9)
    assert scores is not None
    assert scores[1].logprob == -9999.0
    assert (scores[1].rank, len(scores[1].top)) == (4, 5)


needs_kernels = pytest.mark.skipif(library() is None, reason="this machine runs on torch alone")


async def of_kernels(path: Path, ids: list[int], options: EngineOptions) -> list[TokenLogprobs]:
    """What the kernels find."""
    loaded = load_causal(path, options)
    assert isinstance(loaded, NativeModel)
    engine = TorchEngine(loaded, options, kv_blocks(loaded, options))
    try:
        return (await read(engine, request(ids, 0, prompt_logprobs=5)))[0]
    finally:
        engine.close()


@needs_kernels
async def test_the_kernels_come_near(tmp_path: Path) -> None:
    """A model of numbers that bfloat16 holds, against transformers in float32: 5e-3 per token."""
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "head_dim": 16}
    folder = make_model(tmp_path, "qwen3", **shape)
    model = reference(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    model.save_pretrained(folder)
    ids = prompt(120)
    options = EngineOptions(dtype="bfloat16", kv_cache_bytes=0, max_step_tokens=50)
    compare(await of_kernels(folder, ids, options), ids, expected(model, ids), 5e-3)


@needs_kernels
@pytest.mark.slow
async def test_the_kernels_come_near_with_the_demo_model(smollm_file: Path) -> None:
    """In its file's own numbers, against transformers in float32: 5e-3 per token of a text."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm_file.parent, gguf_file=smollm_file.name)
    ids = tokenizer("\n".join(TEXTS[:3] + TEXTS[5:6] * 3)).input_ids
    told = await of_kernels(smollm_file, ids, EngineOptions(kv_cache_bytes=0))
    rows = expected(reference(smollm_file), ids)
    own = [float(row[token]) for row, token in zip(rows, ids[1:], strict=True)]
    off = [abs(each.logprob - number) for each, number in zip(told, own, strict=True)]
    assert sum(off) / len(off) < 5e-3
    assert max(off) < 2e-2
