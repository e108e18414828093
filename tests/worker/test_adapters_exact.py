"""Adapters against peft: the same tokens and the same logits, alone and mixed in one batch."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engines.torch.engine import TorchEngine
from inferloom_worker.engines.torch.torch_loading import kv_blocks, load_model
from inferloom_worker.lora.weights import read_lora
from inferloom_worker.models.protocol import CausalModel
from inferloom_worker.stepping.batch import Span, StepBatch
from tests.worker.adapters import adapted_reference, make_adapter
from tests.worker.engines import generate, generate_all, request
from tests.worker.models import greedy, make_model, reference
from tests.worker.test_engine_exact import prompts

CPU = torch.device("cpu")
Start = Callable[..., TorchEngine]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start engines on model folders; they are closed after the test."""
    engines: list[TorchEngine] = []

    def run(path: Path, *, general: bool = False, **limits: Any) -> TorchEngine:
        options = EngineOptions(dtype="float32", kv_cache_bytes=0, **limits)
        model = load_model(path, torch.float32, CPU, general=general)
        engines.append(TorchEngine(model, options, 8 * kv_blocks(model, options)))
        return engines[-1]

    yield run
    for engine in engines:
        engine.close()


VARIANTS: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "fast": ("llama", False, {}),
    "fast-one-projection": ("qwen2", False, {"target_modules": ["v_proj"]}),
    "fast-rslora": ("llama", False, {"use_rslora": True}),
    "fast-patterns": (
        "qwen3",
        False,
        {"rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 7}, "alpha_pattern": {"mlp.down_proj": 11}},
    ),
    "fast-post-norms": ("gemma2", False, {}),
    "fast-fused": ("phi3", False, {"target_modules": ["qkv_proj", "gate_up_proj", "down_proj"]}),
    "general": ("gemma2", True, {}),
    "general-fused": ("phi3", True, {"target_modules": ["qkv_proj", "gate_up_proj"]}),
    "general-conv1d": ("gpt2", True, {"target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True}),
    "general-experts": ("mixtral", True, {"target_modules": ["q_proj", "o_proj"]}),
}


@pytest.mark.parametrize(("architecture", "general", "fields"), VARIANTS.values(), ids=VARIANTS)
async def test_greedy_tokens_equal_pefts_alone_and_mixed(
    architecture: str, general: bool, fields: dict[str, Any], tmp_path: Path, start: Start
) -> None:
    """Two adapters and the base in one batch, with prompt chunks: each gives what it gives in peft."""
    base = make_model(tmp_path / "base", architecture)
    folders = [make_adapter(tmp_path / f"a{i}", base, seed=i, **fields) for i in (1, 2)]
    references = [reference(base), *(adapted_reference(base, folder) for folder in folders)]
    asked = prompts(2)
    expected = [greedy(model, prompt, 12) for model in references for prompt in asked]
    engine = start(base, general=general, max_step_tokens=32)
    adapters = [None, *(engine.load_adapter(folder) for folder in folders)]
    requests = [request(prompt, 12, adapter=adapter) for adapter in adapters for prompt in asked]
    assert await generate_all(engine, requests) == expected
    assert [(await generate(engine, alone))[0] for alone in requests] == expected
    assert expected[:2] != expected[2:4] != expected[4:]


def mixed_step(tokens: list[int], *adapters: Any) -> StepBatch:
    """The same prompt once for each adapter, every row sampled."""
    count = len(tokens)
    blocks = -(-count // 16)
    spans = [
        Span(i * count, count, count, list(range(i * blocks, (i + 1) * blocks)), adapter)
        for i, adapter in enumerate(adapters)
    ]
    rows = count * len(adapters)
    return StepBatch(tokens * len(adapters), [*range(count)] * len(adapters), spans, list(range(rows)))


@pytest.mark.parametrize("general", [False, True], ids=["fast", "general"])
def test_logits_equal_pefts_and_the_bases_rows_are_untouched(general: bool, tmp_path: Path) -> None:
    """To 1e-3 in float32 for an adapter's rows; bit for bit for rows without one."""
    base = make_model(tmp_path / "base", "llama")
    folder = make_adapter(tmp_path / "a", base)
    model: CausalModel = load_model(base, torch.float32, CPU, general=general)
    model.allocate(16)
    [tokens] = prompts(1)
    before = model.forward(mixed_step(tokens, None, None))
    adapter = model.adapter(read_lora(folder, 16))
    mixed = model.forward(mixed_step(tokens, None, adapter))
    with torch.inference_mode():
        expected = adapted_reference(base, folder)(torch.tensor([tokens])).logits[0]
    count = len(tokens)
    assert torch.equal(mixed[:count], before[:count])
    assert torch.allclose(mixed[count:], expected, atol=1e-3)
    assert not torch.allclose(mixed[count:], before[count:], atol=0.1)


async def test_adapters_share_no_cached_prefix(tmp_path: Path, start: Start) -> None:
    """A long prompt that the base has read is read again for an adapter, once for all of its requests."""
    base = make_model(tmp_path / "base", "llama")
    engine = start(base)
    adapter = engine.load_adapter(make_adapter(tmp_path / "a", base))
    prompt = prompts(1, longest=1)[0] * 40
    reused = []
    for one in (None, adapter, adapter, None):
        generation = engine.submit(request(prompt, 1, adapter=one))
        _ = [event async for event in generation.events()]
        reused.append(generation.stats.cached_prompt_tokens)
    assert reused == [0, 0, 32, 32]


async def test_an_adapters_memory_is_freed_when_nobody_holds_it(tmp_path: Path, start: Start) -> None:
    """It is counted while a request runs on it, and no longer."""
    base = make_model(tmp_path / "base", "llama")
    engine = start(base)
    adapter = engine.load_adapter(make_adapter(tmp_path / "a", base))
    size = adapter.weights_bytes
    assert engine.load().adapter_bytes == size > 0
    generation = engine.submit(request(prompts(1)[0], 5, adapter=adapter))
    del adapter
    _ = [event async for event in generation.events()]
    assert engine.load().adapter_bytes == size
    del generation
    await generate(engine, request([1], 1))  # its end comes after that of the step before
    assert engine.load().adapter_bytes == 0
