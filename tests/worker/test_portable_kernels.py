"""The kernels on processors that have neither AVX2 nor AVX-512, as far as this machine can run them."""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from inferloom_worker.kernels.build import FLAGS, SOURCES, VARIANTS, variants_of
from inferloom_worker.kernels.kept import library_path
from inferloom_worker.kernels.library import can_run, load
from inferloom_worker.models import native
from inferloom_worker.weights.bfloat16 import round_bfloat16
from inferloom_worker.weights.groups import quantize_int4, quantize_int8
from tests.worker.test_native import Rounding, batch, both, tokens

CHECK = Path(__file__).parent / "native/portable_check.cpp"
QUICK = [flag for flag in FLAGS if flag not in ("-O3", "-shared", "-mtune=native")]
PARTS = ("float16", "exp", "lanes", "Q4", "Q4F", "Q8", "Q8F", "BF16", "Q12", "attention", "threads")


def test_each_kind_of_processor_has_a_variant() -> None:
    """ARM has the generic one, x86-64 that too."""
    assert variants_of("arm64") == variants_of("aarch64") == ("generic",)
    assert variants_of("x86_64") == tuple(VARIANTS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("compiler", "emulator", "flags"),
    [
        ("g++", (), ()),
        ("g++", (), tuple(f"-m{name}" for name in VARIANTS["avx2"])),
        # As on macOS: threads wait by a condition.
        ("g++", (), ("-DIL_NO_FUTEX",)),
        ("aarch64-linux-gnu-g++", ("qemu-aarch64",), ("-static",)),
    ],
    ids=["generic", "avx2", "without futexes", "aarch64"],
)
def test_parts_are_right(
    compiler: str, emulator: tuple[str, ...], flags: tuple[str, ...], tmp_path: Path
) -> None:
    """Products, attention, conversions and threads, against plain arithmetic; a row alone and in a batch bit
    for bit. ARM's are cross-compiled and run by an emulator, where these are installed."""
    for needed in (compiler, *emulator):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    program = tmp_path / "check"
    subprocess.run(
        [compiler, *QUICK, "-O1", *flags, "-I", str(SOURCES), "-o", str(program), str(CHECK)], check=True
    )
    done = subprocess.run([*emulator, str(program)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["ok", part] for part in PARTS]


@pytest.mark.skipif(not can_run("generic"), reason="the generic library was not built")
@pytest.mark.parametrize("rounding", [round_bfloat16, quantize_int4, quantize_int8], ids=["BF16", "Q4", "Q8"])
def test_the_generic_library_computes_a_model(
    rounding: Rounding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits are those of the expanded weights, and those of a row alone are those that it has in a batch."""
    generic = load(library_path("generic"))
    monkeypatch.setattr(native, "library", lambda: generic)
    kernels, eager = both(tmp_path, rounding, "llama")
    blocks = [7, 3, 9, 1, 0, 20, 21]
    step = batch(tokens(100), 0, blocks)
    assert torch.allclose(kernels.forward(step), eager.forward(step), atol=0.01)
    alone = [
        kernels.forward(batch([token], place, [10, 11, 12, 13, 14, 15, 16]))
        for place, token in enumerate(tokens(100))
    ]
    assert torch.equal(torch.cat(alone), kernels.forward(step))
