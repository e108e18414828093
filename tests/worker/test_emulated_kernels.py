"""The kernels' AVX-512 sources on any processor, over emulated instructions."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from inferloom_worker.kernels.build import FLAGS, SOURCES, VARIANTS
from inferloom_worker.kernels.library import load
from inferloom_worker.models import native
from inferloom_worker.weights.bfloat16 import round_bfloat16
from inferloom_worker.weights.groups import quantize_int4
from tests.worker.test_native import Rounding, batch, both, needs_kernels, tokens

pytestmark = pytest.mark.slow

EMULATED = Path(__file__).parent / "native/avx512_emulated.h"


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The library of processors with AVX-512 VNNI and BF16."""
    path = tmp_path_factory.mktemp("kernels") / "emulated.so"
    flags = [flag for flag in FLAGS if flag != "-O3"]
    extensions = [f"-m{name}" for name in VARIANTS["avx2"]]
    source = str(SOURCES / "api.cpp")
    subprocess.run(
        ["g++", "-O1", *flags, *extensions, "-include", str(EMULATED), "-o", str(path), source], check=True
    )
    return load(path)


@needs_kernels
@pytest.mark.parametrize("rounding", [round_bfloat16, quantize_int4], ids=["BF16", "Q4"])
def test_logits_are_those_of_the_expanded_weights(
    rounding: Rounding, emulated: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A processor that multiplies bfloat16 computes as exactly as one that does not."""
    monkeypatch.setattr(native, "library", lambda: emulated)
    kernels, eager = both(tmp_path, rounding, "llama")
    step = batch(tokens(100), 0, [7, 3, 9, 1, 0, 20, 21])
    assert torch.allclose(kernels.forward(step), eager.forward(step), atol=0.01)
    alone = [
        kernels.forward(batch([token], place, [10, 11, 12, 13, 14, 15, 16]))
        for place, token in enumerate(tokens(100))
    ]
    assert torch.equal(torch.cat(alone), kernels.forward(step))
