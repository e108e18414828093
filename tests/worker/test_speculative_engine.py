"""Drafting changes nothing but the number of steps."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engine.events import TokensEvent
from inferloom_worker.engine.limits import TokenLimits
from inferloom_worker.engine.options import EngineOptions, SpeculationSetting
from inferloom_worker.engine.prediction import Prediction
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.engines.torch.engine import TorchEngine
from inferloom_worker.engines.torch.torch_loading import kv_blocks, load_model
from tests.worker.adapters import make_adapter
from tests.worker.engines import Generated, collect, collect_all, request
from tests.worker.models import VOCABULARY, make_model

FEW = (7, 40, 77, 140, 200, 301)
"""Tokens that most requests here are confined to, so that pairs come again and drafts are right and wrong."""

CONFINED = dict.fromkeys(FEW, 60.0)


def prompt(seed: int, length: int = 40) -> list[int]:
    """A prompt of those tokens and some others."""
    rng = random.Random(seed)
    return [rng.choice((*FEW, rng.randrange(VOCABULARY))) for _ in range(length)]


def sampled(seed: int = 3, **fields: float) -> Sampling:
    """Sampling among the few tokens."""
    settings = {"temperature": 0.9, "logit_bias": CONFINED, "seed": seed} | fields
    return Sampling(**settings)  # type: ignore[arg-type]


CASES: dict[str, GenerationRequest] = {
    "greedy": request(prompt(1), 60),
    "greedy, confined": request(prompt(2), 60, sampling=sampled(temperature=0.0)),
    "sampled": request(prompt(3), 60, sampling=sampled()),
    "filtered": request(prompt(4), 60, sampling=sampled(top_p=0.8, top_k=4, min_p=0.05)),
    "penalties": request(
        prompt(5),
        60,
        sampling=sampled(presence_penalty=0.4, frequency_penalty=0.1, repetition_penalty=1.2),
    ),
    "log-probabilities": request(prompt(6), 40, sampling=sampled(), top_logprobs=3),
    "a stop token": request(prompt(7), 60, sampling=sampled(), stop_token_ids=frozenset({FEW[0]})),
    "a stop token after the least": request(
        prompt(8), 60, sampling=sampled(), stop_token_ids=frozenset(FEW[:2]), min_tokens=30
    ),
    "several choices": request(prompt(9), 40, n=3, sampling=sampled()),
    "allowed tokens": request(
        prompt(11), 60, sampling=Sampling(temperature=1.0, seed=4), limits=TokenLimits(FEW)
    ),
    "barred sequences": request(
        prompt(12), 60, sampling=sampled(), limits=TokenLimits(None, [FEW[:1], FEW[1:3], FEW[3:6]])
    ),
    "one token": request(prompt(10), 1, sampling=sampled()),
    "a prompt of one token": request(FEW[:1], 40, sampling=sampled()),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model."""
    return make_model(tmp_path_factory.mktemp("model"), "llama")


def start(
    folder: Path, speculation: SpeculationSetting, *, blocks: int | None = None, rows: int = 256
) -> TorchEngine:
    """An engine in float32."""
    options = EngineOptions(dtype="float32", kv_cache_bytes=0, speculation=speculation, max_step_tokens=rows)
    model = load_model(folder, torch.float32, torch.device("cpu"))
    return TorchEngine(model, options, blocks or 8 * kv_blocks(model, options))


@pytest.fixture(scope="module")
def plain(folder: Path) -> Iterator[TorchEngine]:
    """An engine that drafts nothing."""
    engine = start(folder, "off")
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def drafting(folder: Path) -> Iterator[TorchEngine]:
    """An engine that drafts wherever it can."""
    engine = start(folder, 8)
    yield engine
    engine.close()


def same(actual: list[Generated], expected: list[Generated]) -> bool:
    """Whether choices came to the same, whatever was drafted."""
    return all(
        (a.tokens, a.end) == (e.tokens, e.end)
        and [x.logprob for x in a.logprobs] == pytest.approx([x.logprob for x in e.logprobs], abs=1e-4)
        and [[t for t, _ in x.top] for x in a.logprobs] == [[t for t, _ in x.top] for x in e.logprobs]
        for a, e in zip(actual, expected, strict=True)
    )


async def as_alone(
    engine: TorchEngine, asked: list[GenerationRequest], actual: list[list[Generated]]
) -> bool:
    """Whether each request came to what it comes to alone on ``engine``."""
    alone = [await collect(engine, each) for each in asked]
    return all(same(a, e) for a, e in zip(actual, alone, strict=True))


@pytest.mark.parametrize("case", CASES)
async def test_output_is_the_same(case: str, plain: TorchEngine, drafting: TorchEngine) -> None:
    """Tokens, ends and log-probabilities are those of single steps, whatever a request asks for."""
    expected = await collect(plain, CASES[case])
    assert same(await collect(drafting, CASES[case]), expected)
    assert all(choice.accepted == choice.rejected == 0 for choice in expected)


async def test_only_allowed_tokens_come_and_no_barred_sequence(drafting: TorchEngine) -> None:
    """Also in drafts; where nothing is left, the request ends by its caller's fault."""
    (allowed,) = await collect(drafting, CASES["allowed tokens"])
    assert set(allowed.tokens) <= set(FEW)
    (barred,) = await collect(drafting, CASES["barred sequences"])
    assert barred.accepted
    for sequence in (FEW[:1], FEW[1:3], FEW[3:6]):
        found = [tuple(barred.tokens[i : i + len(sequence)]) for i in range(60)]
        assert sequence not in found
    assert any(pair == (FEW[3], FEW[4]) for pair in itertools.pairwise(barred.tokens))
    with pytest.raises(InferloomError, match="none may come") as caught:
        await collect(drafting, request(FEW, 5, limits=TokenLimits(FEW[:1], [FEW[:1]])))
    assert caught.value.reason is Reason.INVALID_ARGUMENT


async def test_what_is_predicted_is_drafted_and_changes_nothing(
    plain: TorchEngine, drafting: TorchEngine
) -> None:
    """A prediction that is right, one with errors, and one that is wrong throughout."""
    for sampling in (Sampling(temperature=0.0), Sampling(temperature=0.8, seed=9)):
        asked = request(prompt(13), 60, sampling=sampling)
        expected = await collect(plain, asked)
        tokens = expected[0].tokens
        flawed = [token if place % 15 != 7 else 5 for place, token in enumerate(tokens)]
        counts = []
        for prediction in (tokens, flawed, [*tokens[20:], *tokens], [5] * 60):
            found = await collect(drafting, replace(asked, prediction=Prediction(prediction)))
            assert same(found, expected)
            counts.append(found[0].accepted)
        none = (await collect(drafting, asked))[0].accepted
        assert counts[0] > 45
        assert counts[1] > 30
        assert counts[2] > 20
        assert abs(counts[3] - none) <= 10


async def test_output_is_the_same_with_adapters(
    folder: Path, plain: TorchEngine, drafting: TorchEngine, tmp_path: Path
) -> None:
    """Drafts are judged with the request's own adapter, beside requests with others and none."""
    lora = [make_adapter(tmp_path / f"a{i}", folder, seed=i) for i in (1, 2)]
    outcomes: dict[str, list[list[Generated]]] = {}
    for name, engine in (("plain", plain), ("drafting", drafting)):
        adapters = (None, *(engine.load_adapter(each) for each in lora))
        asked = [
            replace(CASES[case], adapter=adapter)
            for case in ("sampled", "greedy, confined")
            for adapter in adapters
        ]
        outcomes[name] = await collect_all(engine, asked)
    assert all(same(a, e) for a, e in zip(outcomes["drafting"], outcomes["plain"], strict=True))
    assert all(choice.accepted and choice.rejected for [choice] in outcomes["drafting"])
    sampled_tokens = [tuple(choice.tokens) for [choice] in outcomes["plain"][:3]]
    assert len(set(sampled_tokens)) == 3


async def test_output_is_the_same_in_a_crowd(plain: TorchEngine, drafting: TorchEngine) -> None:
    """All of them together, some drafts right and some wrong."""
    actual = await collect_all(drafting, list(CASES.values()))
    assert await as_alone(plain, list(CASES.values()), actual)
    assert sum(choice.accepted for choices in actual for choice in choices) > 50
    assert sum(choice.rejected for choices in actual for choice in choices) > 50


async def test_drafts_beside_a_prompt_in_chunks(folder: Path, plain: TorchEngine) -> None:
    """In steps with little room, streams that draft and prompts that are read leave each other alone."""
    asked = [request(prompt(seed, 30 * seed), 50, sampling=sampled(seed)) for seed in range(1, 6)]
    engine = start(folder, 5, rows=16)
    actual = await collect_all(engine, asked)
    engine.close()
    assert await as_alone(plain, asked, actual)


async def test_a_sequence_that_gave_way_goes_on_the_same(folder: Path, plain: TorchEngine) -> None:
    """With memory for less than half of them, sequences draft, are preempted, and are computed again."""
    asked = [request(prompt(seed), 120, sampling=sampled(seed)) for seed in range(8)]
    engine = start(folder, 8, blocks=33)
    actual = await collect_all(engine, asked)
    free, total = engine.load().free_kv_tokens, engine.info.kv_tokens
    engine.close()
    assert await as_alone(plain, asked, actual)
    assert sum(choice.accepted for (choice,) in actual) > 50
    assert free == total


async def test_what_was_drafted_and_is_reused_is_right(plain: TorchEngine, drafting: TorchEngine) -> None:
    """A next turn shares the blocks of an answer that was drafted, and none that a wrong draft was in."""
    first = request(prompt(20), 100, sampling=sampled())
    (answer,) = await collect(drafting, first)
    assert answer.accepted > 10
    assert answer.rejected > 10
    for length in range(10, 101, 15):
        turn = request([*first.prompt, *answer.tokens[:length], 5], 12, top_logprobs=2)
        generation = drafting.submit(turn)
        again = Generated()
        async for batch in generation.events():
            for event in batch:
                if isinstance(event, TokensEvent):
                    again.add(event)
        assert generation.stats.cached_prompt_tokens >= (len(turn.prompt) - 1) // 16 * 16
        assert same([again], await collect(plain, turn))
