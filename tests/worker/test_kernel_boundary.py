"""What enters the kernels is checked: sizes, places and tokens that are not there are errors, not memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inferloom_worker.engine.health import MemorySuspectError
from inferloom_worker.kernels import abi
from inferloom_worker.kernels.build import VARIANTS, flags_of, mark
from inferloom_worker.kernels.kept import library_path
from inferloom_worker.kernels.library import KernelError, can_run, library, load, told_by
from inferloom_worker.models import native
from inferloom_worker.models.native import NativeModel
from inferloom_worker.stepping.batch import Span, StepBatch
from inferloom_worker.weights.groups import quantize_int8
from tests.worker.test_native import both, needs_kernels, tokens

pytestmark = needs_kernels
RUNNABLE = [variant for variant in VARIANTS if can_run(variant)]


@pytest.fixture(params=RUNNABLE)
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each library that this machine can run."""
    loaded = load(library_path(request.param))
    monkeypatch.setattr(native, "library", lambda: loaded)
    return loaded


@pytest.fixture
def model(kernels: Any, tmp_path: Path) -> NativeModel:
    """A small one with 40 blocks."""
    return both(tmp_path, quantize_int8, "llama")[0]


def step(
    ids: list[int],
    blocks: list[int],
    *,
    at: int = 0,
    samples: tuple[int, ...] = (0,),
    rows: int | None = None,
) -> StepBatch:
    """A step of one sequence, which may claim anything."""
    places = list(range(at, at + len(ids)))
    return StepBatch(
        ids, places, [Span(0, len(ids) if rows is None else rows, at + len(ids), blocks)], list(samples)
    )


BAD_STEPS = {
    "a token past the vocabulary": step([5, 208], [0]),
    "a token far past it": step([30_000_000], [0]),
    "a token below it": step([-1], [0]),
    "a position below 0": step([5], [0], at=-1),
    "a position past its blocks": step([5] * 17, [0]),
    "a block past the cache": step([5], [40]),
    "a block below it": step([5], [-1]),
    "a sampled row past the step": step([5], [0], samples=(1,)),
    "a sampled row below it": step([5], [0], samples=(-1,)),
    "a span past the step": step([5], [0], rows=2),
    "a row without a span": step([5, 6], [0], rows=1),
    "no blocks": step([5], []),
}


@pytest.mark.parametrize("bad", BAD_STEPS.values(), ids=BAD_STEPS)
def test_a_step_that_would_leave_its_memory_is_refused(bad: StepBatch, model: NativeModel) -> None:
    """An error, and the model computes the next step as if nothing had been."""
    good = step(tokens(20), [1, 2], samples=tuple(range(20)))
    before = model.forward(good)
    with pytest.raises(ValueError, match=r"token|position|block|row|span"):
        model.forward(bad)
    with pytest.raises(ValueError, match=r"token|position|block|row|span"):
        model.hidden(bad)
    assert torch.equal(before, model.forward(good))


def test_memory_that_there_is_not_is_an_error(kernels: Any) -> None:
    """Neither a crash nor a call that returns as if it had worked."""
    shape = abi.EncoderShape(1, 32, 1, 32, 16, 16, 2, 0, 1e-5)
    encoder = kernels.il_encoder_create(shape, 1)
    try:
        place = kernels.il_encoder_matrix(encoder, 0, 0)
        with pytest.raises(MemoryError):
            kernels.il_make_matrix(place, 4, 1 << 23, 1 << 23)
        kernels.il_make_matrix(place, 4, 32, 32)
    finally:
        kernels.il_encoder_destroy(encoder)


@pytest.mark.parametrize(
    ("field", "value"),
    [("hidden", 33), ("heads", 0), ("kv_heads", 5), ("head_dim", -16), ("vocab", 1 << 30), ("activation", 2)],
)
def test_a_shape_that_is_not_computed_is_refused(field: str, value: int, kernels: Any) -> None:
    """The library itself holds the bounds that its arithmetic needs."""
    sizes = {"layers": 0, "hidden": 32, "heads": 2, "kv_heads": 1, "head_dim": 16, "intermediate": 32}
    shape = abi.Shape(**{**sizes, "vocab": 64, field: value})
    with pytest.raises(KernelError):
        kernels.il_create(shape, None, None, 0, 1)


def test_nothing_is_computed_before_every_weight_is_there(kernels: Any) -> None:
    """A decoder whose weights were forgotten refuses its first step."""
    shape = abi.Shape(layers=0, hidden=32, heads=2, kv_heads=1, head_dim=16, intermediate=32, vocab=64)
    decoder = kernels.il_create(shape, None, None, 0, 1)
    try:
        kernels.il_allocate(decoder, 1)
        with pytest.raises(KernelError, match="embedding"):
            kernels.il_forward(decoder, abi.Step(), None)
        for layer, which in ((0, 0), (5, 1), (-1, 2)):
            with pytest.raises(KernelError):
                kernels.il_decoder_matrix(decoder, layer, which)
    finally:
        kernels.il_destroy(decoder)


def test_a_library_from_other_sources_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders and layouts are compared when it is loaded, not when they are used."""
    monkeypatch.setattr(abi, "VECTORS", (abi.VECTORS[1], abi.VECTORS[0], *abi.VECTORS[2:]))
    with pytest.raises(KernelError, match="built from other sources"):
        load(library_path(RUNNABLE[0]))


@pytest.mark.parametrize("variant", RUNNABLE)
def test_a_library_that_is_new_says_that_it_is(variant: str) -> None:
    """It was built from the sources that are here."""
    loaded = load(library_path(variant))
    if not hasattr(loaded, "il_built_from"):
        pytest.skip("it was built before libraries said so")
    assert told_by(loaded) == mark(flags_of(variant))


@pytest.mark.parametrize(("code", "kind"), [(1, MemoryError), (2, KernelError), (3, MemorySuspectError)])
def test_failures_are_of_three_kinds(code: int, kind: type[Exception], kernels: Any) -> None:
    """What the kernels neither refuse nor lack memory for puts all memory in doubt."""
    with pytest.raises(kind) as failure:
        kernels.il_forward.errcheck(code, kernels.il_forward, ())
    assert isinstance(failure.value, MemorySuspectError) == (kind is MemorySuspectError)


def test_an_adapter_of_other_sizes_is_refused(kernels: Any, model: NativeModel) -> None:
    """Parts and changes fit the model's projections."""
    adapter = kernels.il_adapter_create(model._decoder)
    values = np.zeros(1 << 16, np.float32)
    try:
        with pytest.raises(KernelError):
            kernels.il_adapter_change(adapter, 0, 0, 4, 160, values.ctypes.data)
        kernels.il_adapter_change(adapter, 0, 0, 4, 96, values.ctypes.data)
        for first, outputs, low, rank in ((0, 1 << 12, 0, 4), (8, 16, 0, 4), (0, 16, 2, 4), (-16, 16, 0, 4)):
            with pytest.raises(KernelError):
                kernels.il_adapter_part(adapter, 0, 0, first, outputs, low, rank, values.ctypes.data)
    finally:
        kernels.il_adapter_destroy(adapter)


def test_the_default_library_is_one_of_them() -> None:
    """The fastest is what models run on."""
    assert library() is not None
    assert RUNNABLE
