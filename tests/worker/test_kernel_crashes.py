"""Inputs that once ended the process. Each has a process of its own, so that an end is a mere failure."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.test_native import needs_kernels

ROOT = Path(__file__).parents[2]
SETUP = """
import sys, numpy as np, torch
from pathlib import Path
from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.weights.groups import quantize_int8
from tests.worker.test_native import batch, both
model, eager = both(Path(sys.argv[1]), quantize_int8, "llama")
logits = torch.linspace(-3, 3, 203)[None]
"""
DRAW = "print(model.chooser.draw(logits, [Sampling(temperature={}, top_p=0.9)], np.array([0.5])))"
FORWARD = """
try:
    model.forward(batch([{}], 0, [0]))
except ValueError as refused:
    print("refused:", refused)
"""

CASES = {
    "a denormal temperature": (DRAW.format("1e-39"), "[202]"),
    "no temperature": (DRAW.format("0.0"), "[202]"),
    "NaN for logits": ("logits[:] = float('nan')\n" + DRAW.format("1.0"), "[-1]"),
    "a token past the vocabulary": (FORWARD.format("30_000_000"), "refused: a token is 30000000"),
    "a token just past it": (FORWARD.format("208"), "refused: a token is 208"),
}


@needs_kernels
@pytest.mark.slow
@pytest.mark.parametrize(("code", "said"), CASES.values(), ids=CASES)
def test_the_process_goes_on(code: str, said: str, tmp_path: Path) -> None:
    """It says what it was given, or what was chosen."""
    command = [sys.executable, "-c", SETUP + code, str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-500:]
    assert said in result.stdout
