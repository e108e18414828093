"""What loading a model imports: seconds of every start."""

import subprocess
import sys

SCRIPT = """
import sys
from inferloom_worker.demo import fetch
from inferloom_worker.engine.loading import load_engine
from inferloom_worker.engine.options import EngineOptions
load_engine(fetch("smollm2-135m-instruct"), EngineOptions()).close()
print(*(name for name in ("transformers.activations", "torch._dynamo", "sympy") if name in sys.modules))
"""


def test_a_gguf_file_needs_no_modelling_code() -> None:
    """Neither an architecture's code in transformers nor torch's compiler."""
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
