"""Adapters in the kernels against eager torch on the numbers that the quantised weights stand for."""

from pathlib import Path

import pytest
import torch

from inferloom_worker.engine.adapter import Adapter
from inferloom_worker.lora.weights import LoraWeights, read_lora
from inferloom_worker.models.protocol import CausalModel
from inferloom_worker.stepping.batch import Span, StepBatch
from inferloom_worker.weights.groups import quantize_int4, quantize_int8
from tests.worker.adapters import make_adapter
from tests.worker.test_native import both, needs_kernels, tokens

PROMPT = 24


def mixed(*adapters: Adapter | None) -> StepBatch:
    """One decoding row at place 0, then the same prompt once for each adapter; every row is sampled."""
    prompt = tokens(PROMPT)
    spans = [Span(0, 1, 1, [0], adapters[-1])]
    spans += [
        Span(1 + i * PROMPT, PROMPT, PROMPT, [2 * i + 1, 2 * i + 2], adapter)
        for i, adapter in enumerate(adapters)
    ]
    rows = 1 + PROMPT * len(adapters)
    places = [0] + [*range(PROMPT)] * len(adapters)
    return StepBatch(prompt[:1] + prompt * len(adapters), places, spans, list(range(rows)))


def run(model: CausalModel, weights: list[LoraWeights]) -> torch.Tensor:
    """A step of the base and of each adapter."""
    return model.forward(mixed(None, *(model.adapter(each) for each in weights)))


@needs_kernels
@pytest.mark.parametrize(
    "fields", [{"r": 4}, {"r": 5, "target_modules": ["k_proj", "up_proj"]}], ids=["all", "few"]
)
def test_every_adapter_of_a_step_is_that_of_eager_torch(fields: dict[str, object], tmp_path: Path) -> None:
    """Two adapters and the base give eager torch's logits, to the rounding of activations and cache."""
    native, eager = both(tmp_path, quantize_int8, "qwen3")
    weights = [read_lora(make_adapter(tmp_path / str(i), tmp_path, i, **fields), 8) for i in (1, 2)]
    actual, expected = run(native, weights), run(eager, weights)
    assert torch.allclose(actual, expected, atol=0.02)
    base, first, second = actual[1:].split(PROMPT)
    assert not torch.allclose(base, first, atol=0.2)
    assert not torch.allclose(first, second, atol=0.2)


@needs_kernels
def test_rows_are_the_same_bit_for_bit_whatever_adapters_are_beside_them(tmp_path: Path) -> None:
    """A row without an adapter is as it was before one was loaded; one with an adapter, as it is alone."""
    native, _ = both(tmp_path, quantize_int4, "llama")
    before = native.forward(mixed(None))[1:]
    adapters = [native.adapter(read_lora(make_adapter(tmp_path / str(i), tmp_path, i), 8)) for i in (1, 2)]
    base, first, second = native.forward(mixed(None, *adapters))[1:].split(PROMPT)
    assert torch.equal(base, before)
    assert torch.equal(first, native.forward(mixed(adapters[0]))[1:])
    assert torch.equal(second, native.forward(mixed(adapters[1]))[1:])
