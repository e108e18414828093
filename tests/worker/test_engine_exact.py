"""The torch engine against transformers: the same tokens and the same probabilities, whatever else runs."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, Gemma3Config, Gemma3ForConditionalGeneration, SiglipVisionConfig

from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.engines.torch.engine import TorchEngine
from inferloom_worker.engines.torch.torch_loading import kv_blocks, load_model
from inferloom_worker.models.config_transformers import from_transformers
from tests.worker.engines import collect, collect_all, generate, generate_all, logprobs, request
from tests.worker.models import ARCHITECTURES, GENERAL_ONLY, VOCABULARY, greedy, make_model, reference

CPU = torch.device("cpu")
Start = Callable[..., TorchEngine]

VISION: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "image_size": 16,
    "patch_size": 8,
}


@pytest.fixture
def start() -> Iterator[Start]:
    """Start engines on model folders; they are closed after the test."""
    engines: list[TorchEngine] = []

    def run(path: Path, *, general: bool = False, blocks: int | None = None, **limits: Any) -> TorchEngine:
        options = EngineOptions(dtype="float32", kv_cache_bytes=0, **limits)
        model = load_model(path, torch.float32, CPU, general=general, context_length=options.context_length)
        engines.append(TorchEngine(model, options, blocks or 4 * kv_blocks(model, options)))
        return engines[-1]

    yield run
    for engine in engines:
        engine.close()


def prompts(count: int, shortest: int = 1, longest: int = 60) -> list[list[int]]:
    """Random prompts of different lengths."""
    rng = random.Random(3)
    return [[rng.randrange(VOCABULARY) for _ in range(rng.randint(shortest, longest))] for _ in range(count)]


@pytest.mark.parametrize(
    ("architecture", "general"),
    [
        (name, general)
        for name in ARCHITECTURES
        for general in (False, True)
        if general or name not in GENERAL_ONLY
    ],
)
async def test_greedy_tokens_equal_transformers(
    architecture: str, general: bool, tmp_path: Path, start: Start
) -> None:
    """Greedy output of each architecture on each path is transformers' own, in a batch with prompt chunks."""
    folder = make_model(tmp_path, architecture)
    asked = prompts(6)
    expected = [greedy(reference(folder), p, 20) for p in asked]
    engine = start(folder, general=general, max_step_tokens=32, context_length=128)
    assert await generate_all(engine, [request(p, 20) for p in asked]) == expected


async def test_longrope_takes_its_long_frequencies_for_long_sequences(tmp_path: Path, start: Start) -> None:
    """Served past the model's original length, long prompts give transformers' own tokens."""
    folder = make_model(tmp_path, "phi3-longrope")  # its original length is 128
    asked = [p + p for p in prompts(4, shortest=70, longest=90)]
    expected = [greedy(reference(folder), p, 20) for p in asked]
    engine = start(folder, max_step_tokens=64)
    assert await generate_all(engine, [request(p, 20) for p in asked]) == expected


async def test_longrope_on_the_general_path_ends_where_frequencies_would_change(
    tmp_path: Path, start: Start
) -> None:
    """Transformers changes them for a whole step at once; sequences that long are not offered."""
    engine = start(make_model(tmp_path, "phi3-longrope"), general=True)
    assert engine.info.context_length == 128


async def test_a_model_that_sees_as_well_is_served_for_text(tmp_path: Path, start: Start) -> None:
    """The decoder of a multimodal Gemma 3 gives transformers' tokens, on the fast path."""
    folder = make_model(tmp_path / "text", "gemma3")
    text = reference(folder)
    seeing: Any = Gemma3ForConditionalGeneration(
        Gemma3Config(
            text_config=text.config, vision_config=SiglipVisionConfig(**VISION), mm_tokens_per_image=1
        )
    )
    seeing.model.language_model.load_state_dict(text.base_model.state_dict())
    seeing.save_pretrained(tmp_path / "both")
    (prompt,) = prompts(1)
    assert from_transformers(AutoConfig.from_pretrained(tmp_path / "both")) is not None
    engine = start(tmp_path / "both")
    assert await generate(engine, request(prompt, 12)) == [greedy(text, prompt, 12)]


@pytest.mark.slow
async def test_a_sequence_that_was_preempted_continues_exactly(tmp_path: Path, start: Start) -> None:
    """With too little memory for everyone, sequences give way and still produce the same tokens."""
    folder = make_model(tmp_path, "llama")
    asked = prompts(8)
    expected = [greedy(reference(folder), p, 100) for p in asked]
    engine = start(folder, blocks=33)  # one full context; eight sequences want up to 80 blocks
    assert await generate_all(engine, [request(p, 100) for p in asked]) == expected
    assert engine.load().free_kv_tokens == engine.info.kv_tokens


@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize("architecture", ["qwen3", "gemma2", "gemma3", "phi3"])
async def test_logprobs_equal_transformers(
    architecture: str, general: bool, tmp_path: Path, start: Start
) -> None:
    """Reported log-probabilities are the model's own to 1e-3, and the chosen token leads its alternatives."""
    folder = make_model(tmp_path, architecture)
    (prompt,) = prompts(1)
    model = reference(folder)
    tokens = greedy(model, prompt, 12)
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    reported = await logprobs(start(folder, general=general), request(prompt, 12, top_logprobs=3))
    expected = [float(row[token]) for row, token in zip(logits, tokens, strict=True)]
    assert [r.logprob for r in reported] == pytest.approx(expected, abs=1e-3)
    assert [r.top[0][0] for r in reported] == tokens
    assert [len(r.top) for r in reported] == [3] * 12


async def test_a_seed_alone_decides_a_sampled_stream(tmp_path: Path, start: Start) -> None:
    """The same seed draws the same tokens alone, in a crowd and in another engine; another seed does not."""
    folder = make_model(tmp_path, "llama")
    crowd = [
        request(p, 40, sampling=Sampling(temperature=0.9, top_p=0.95 if i % 2 else 1.0, seed=i))
        for i, p in enumerate(prompts(9))
    ]
    first, second = start(folder), start(folder, max_step_tokens=16)
    together = await generate_all(first, crowd)
    alone = [(await generate(second, asked))[0] for asked in crowd]
    assert together == alone
    other = request(crowd[0].prompt, 40, sampling=Sampling(temperature=0.9, seed=99))
    assert (await generate(first, other))[0] != alone[0]


@pytest.mark.parametrize("general", [False, True])
async def test_no_batch_size_changes_an_answer(general: bool, tmp_path: Path, start: Start) -> None:
    """One to nine at once, greedy, sampled and with log-probabilities: each comes out as it does alone."""
    engine = start(make_model(tmp_path, "qwen3"), general=general, max_step_tokens=48)
    asked = [
        request(p, 12, sampling=Sampling(temperature=(0.0, 0.8, 1.2)[i % 3], seed=i), top_logprobs=2)
        for i, p in enumerate(prompts(9, longest=40))
    ]
    alone = [await collect(engine, each) for each in asked]
    for size in range(2, len(asked) + 1):
        together = await collect_all(engine, asked[-size:])
        for (actual,), (expected,) in zip(together, alone[-size:], strict=True):
            assert actual.tokens == expected.tokens
            assert [a.logprob for a in actual.logprobs] == pytest.approx(
                [e.logprob for e in expected.logprobs], abs=1e-4
            )


async def test_choices_of_one_request_are_different_draws(tmp_path: Path, start: Start) -> None:
    """The choices of a sampled request differ, and come out the same again."""
    engine = start(make_model(tmp_path, "llama"))
    asked = request(prompts(1)[0], 20, n=4, sampling=Sampling(temperature=1.0, seed=5))
    choices = await generate(engine, asked)
    assert len({tuple(c) for c in choices}) == 4
    assert await generate(engine, asked) == choices


def smollm_prompts() -> list[str]:
    """Twenty short prompts of different kinds."""
    topics = ("rivers", "the moon", "baking bread", "prime numbers", "a fox and a crow")
    forms = ("Tell me about {}.", "def about_{}():", "Q: What is {}?\nA:", "1. {}\n2.")
    return [form.format(topic) for topic in topics for form in forms]


@pytest.mark.slow
@pytest.mark.timeout(900)  # transformers generates 1,280 tokens one by one
async def test_the_demo_model_equals_transformers(smollm_file: Path, start: Start) -> None:
    """Twenty prompts, 64 tokens each, float32: transformers' own tokens, alone and among eight others."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm_file.parent, gguf_file=smollm_file.name)
    asked = [tokenizer(text).input_ids for text in smollm_prompts()]
    model = reference(smollm_file)
    expected = [greedy(model, prompt, 64) for prompt in asked]
    engine = start(smollm_file, max_running=9)
    alone = [(await generate(engine, request(prompt, 64)))[0] for prompt in asked]
    assert alone == expected
    crowded = [request(prompt, 64) for prompt in asked]
    assert await generate_all(engine, crowded) == expected
