"""Choosing a token is a total function, in torch and in the kernels, and they agree."""

import asyncio
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engine.events import VectorEvent
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.engines.torch.engine import TorchEngine
from inferloom_worker.kernels import abi
from inferloom_worker.kernels.build import VARIANTS
from inferloom_worker.kernels.kept import library_path
from inferloom_worker.kernels.library import address, can_run, load
from inferloom_worker.models.llama import LlamaModel
from inferloom_worker.models.native import mask_addresses
from inferloom_worker.stepping.adjusting import Masks
from inferloom_worker.stepping.sampler import Chooser, TorchChooser, sample
from inferloom_worker.weights.checkpoint import FolderCheckpoint
from tests.worker.engines import collect, request
from tests.worker.test_native import make, needs_kernels
from tests.worker.test_sampler import row

WIDTH = 37  # no whole number of vectors
NAN, INF = math.nan, math.inf
STRANGE = (NAN, INF, -INF, 3.4e38, -3.4e38, 1e-45, 0.0)


class KernelChooser:
    """The kernels' functions without a model of any use."""

    def __init__(self, variant: str) -> None:
        self.library: Any = load(library_path(variant))
        sizes = {"hidden": 32, "heads": 1, "kv_heads": 1, "head_dim": 32, "intermediate": 32, "vocab": 48}
        self.decoder = self.library.il_create(abi.Shape(**sizes), None, None, 0, 2)

    def argmax(self, logits: torch.Tensor, masks: Masks | None = None) -> list[int]:
        """See :class:`Chooser`."""
        places = np.empty(len(logits), np.int32)
        allowed = mask_addresses(masks)
        self.library.il_argmax(
            self.decoder,
            logits.data_ptr(),
            *logits.shape,
            logits.shape[1],
            address(allowed),
            address(places),
        )
        return places.tolist()

    def draw(
        self, logits: torch.Tensor, settings: list[Sampling], uniforms: Any, masks: Masks | None = None
    ) -> list[int]:
        """See :class:`Chooser`."""
        filters = np.empty(len(settings), abi.FILTER)
        for name in ("temperature", "top_p", "min_p", "top_k"):
            filters[name] = [getattr(s, name) for s in settings]
        filters["u"] = uniforms
        tokens = np.empty(len(settings), np.int32)
        allowed = mask_addresses(masks)
        self.library.il_draw(
            self.decoder,
            logits.data_ptr(),
            *logits.shape,
            logits.shape[1],
            address(allowed),
            address(filters),
            address(tokens),
        )
        return tokens.tolist()


CHOOSERS: dict[str, Chooser] = {"torch": TorchChooser()} | {
    variant: KernelChooser(variant) for variant in VARIANTS if can_run(variant)
}
every_chooser = pytest.mark.parametrize("chooser", CHOOSERS.values(), ids=CHOOSERS)

numbers = st.floats(-40, 40, width=32).map(lambda x: round(x, 2))
logits = st.lists(numbers | st.sampled_from(STRANGE), min_size=WIDTH, max_size=WIDTH)
temperatures = st.sampled_from([0.0, 1e-45, 1e-39, 1e-12, 1e-5, 1e-3, 0.3, 1.0, 2.0, 1e30, INF, NAN, -1.0])
samplings = st.builds(
    Sampling,
    temperature=temperatures,
    top_p=st.sampled_from([1.0, 0.9, 0.3, 1e-30]),
    top_k=st.sampled_from([0, 1, 3, WIDTH, 1000]),
    min_p=st.sampled_from([0.0, 0.1, 1.0]),
)


@settings(max_examples=150)
@given(values=logits, sampling=samplings, u=st.sampled_from([0.0, 0.31, 0.77, 1 - 2**-53]))
def test_a_draw_is_a_finite_logit_or_nothing(values: list[float], sampling: Sampling, u: float) -> None:
    """Whatever the numbers: below the least temperature the largest, elsewhere one that may come."""
    wide = np.array(values, np.float32).astype(np.float64)
    finite = np.isfinite(wide)
    tensor = torch.tensor([values], dtype=torch.float32)
    for chooser in CHOOSERS.values():
        (best,) = chooser.argmax(tensor.clone())
        (token,) = chooser.draw(tensor.clone(), [sampling], np.array([u]))
        if not finite.any():
            assert (best, token) == (-1, -1)
            continue
        largest = wide[finite].max()
        assert best == int(np.flatnonzero(finite & (wide == largest))[0])
        assert finite[token]
        if sampling.greedy:
            assert token == best
            continue
        weights = np.where(
            finite, np.exp((np.where(finite, wide, largest) - largest) / sampling.temperature), 0
        )
        assert weights[token] > 0
        assert weights[token] >= sampling.min_p * (1 - 1e-4)
        better = np.sort(weights[weights > weights[token] * (1 + 1e-4)])
        if sampling.top_k:
            assert len(better) < sampling.top_k
        assert better.sum() <= sampling.top_p * weights.sum() * (1 + 1e-4)


@needs_kernels
@settings(max_examples=100)
@given(
    values=st.lists(numbers, min_size=WIDTH, max_size=WIDTH, unique=True),
    sampling=samplings.filter(lambda sampling: not sampling.temperature > 2),  # above it, weights are equal
    u=st.floats(0, 1, exclude_max=True),
)
def test_the_choosers_agree(values: list[float], sampling: Sampling, u: float) -> None:
    """With the same number they draw the same token, unless it falls on the border of two."""
    tensor = torch.tensor([values], dtype=torch.float32)
    near = [min(max(u + shift, 0.0), 1 - 2**-53) for shift in (-1e-5, 0.0, 1e-5)]

    def drawn(chooser: Chooser) -> set[int]:
        return set(chooser.draw(tensor.repeat(3, 1), [sampling] * 3, np.array(near)))

    by_torch, *others = (drawn(chooser) for chooser in CHOOSERS.values())
    # top_p at the border of a tie of rounding may keep one token more: then neighbours in weight are drawn.
    for other in others:
        assert by_torch & other or sampling.top_p < 1


@every_chooser
@pytest.mark.parametrize("field", ["repetition_penalty", "presence_penalty", "frequency_penalty"])
@pytest.mark.parametrize("value", [1e-45, 1e-38, 1e38, INF, NAN])
def test_penalties_of_any_size_leave_a_choice(field: str, value: float, chooser: Chooser) -> None:
    """What a penalty makes of a logit may be no number; another token is chosen then."""
    values = torch.linspace(-3, 3, 48)[None]
    penalty: dict[str, Any] = {field: value}
    for temperature in (0.0, 1.0):
        said = row([47, 46], sampling=Sampling(temperature=temperature, top_p=0.9, **penalty))
        (chosen,) = sample(values.clone(), [said], chooser)
        assert 0 <= chosen.token < 48


@every_chooser
@pytest.mark.parametrize("value", [NAN, -INF, INF])
def test_a_row_without_a_finite_logit_has_no_token(value: float, chooser: Chooser) -> None:
    """Nor log-probabilities; its neighbours are as they would be alone."""
    values = torch.linspace(-3, 3, 48).repeat(3, 1)
    values[1] = value
    rows = [row(top_logprobs=2, sampling=Sampling(temperature=t, top_p=0.9)) for t in (0.0, 1.0, 1.0)]
    first, lost, last = sample(values, rows, chooser)
    assert (lost.token, lost.logprobs) == (-1, None)
    assert first.token == 47
    assert 0 <= last.token < 48
    assert first.logprobs is not None
    assert math.isfinite(first.logprobs.logprob)


def poisoned(folder: Path) -> LlamaModel:
    """A model that computes NaN for every text with token 7."""
    config, checkpoint = make(folder, "llama")
    model = LlamaModel(config, FolderCheckpoint(folder), torch.float32, torch.device("cpu"))
    assert checkpoint.find("model.norm.weight") is not None
    model.embedding[7] = NAN
    return model


async def test_only_the_request_whose_numbers_are_not_finite_fails(tmp_path: Path) -> None:
    """Greedy, drawn, with log-probabilities and as a vector, it is told so; its neighbours go on."""
    engine = TorchEngine(poisoned(tmp_path), EngineOptions(threads=1), 40)
    fields: tuple[dict[str, Any], ...] = (
        {},
        {"sampling": Sampling(temperature=1.0, seed=3)},
        {"top_logprobs": 2},
        {"n": 2},
    )
    try:
        alone = [await collect(engine, request([5, 6, 9], 4, **given)) for given in fields]
        bad = [collect(engine, request([5, 7, 9], 4, **given)) for given in fields]
        good = [collect(engine, request([5, 6, 9], 4, **given)) for given in fields]
        results = await asyncio.gather(*bad, *good, return_exceptions=True)
        for failure in results[: len(bad)]:
            assert isinstance(failure, InferloomError)
            assert failure.reason is Reason.SERVER_ERROR
            assert "no finite numbers" in failure.message
        for after, before in zip(results[len(bad) :], alone, strict=True):
            assert not isinstance(after, BaseException)
            assert [choice.tokens for choice in after] == [choice.tokens for choice in before]
        for prompt, words in (([5, 7], "no finite numbers"), ([5, 6], None)):
            reading = engine.submit(
                GenerationRequest(request_id="", prompt=prompt, max_tokens=1, embeds=True)
            )
            if words:
                with pytest.raises(InferloomError, match=words):
                    _ = [batch async for batch in reading.events()]
            else:
                (event,) = [event async for batch in reading.events() for event in batch]
                assert isinstance(event, VectorEvent)
    finally:
        engine.close()
