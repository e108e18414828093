"""What loading a model imports: seconds of every start."""

import subprocess
import sys
from pathlib import Path

import pytest

from inferloom_worker.kernels.library import library

SCRIPT = """
import sys
from inferloom_worker.sourcing.demo import fetch
from inferloom_worker.engines.torch.torch_loading import load_engine
from inferloom_worker.engine.options import EngineOptions
load_engine(fetch("smollm2-135m-instruct"), EngineOptions()).close()
print(*(name for name in ("transformers.activations", "torch._dynamo", "sympy") if name in sys.modules))
"""


def test_a_gguf_file_needs_no_modelling_code() -> None:
    """Neither an architecture's code in transformers nor torch's compiler."""
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


@pytest.mark.skipif(library() is None, reason="this machine runs on torch alone")
def test_the_demo_encoder_needs_no_large_library(minilm_folder: Path) -> None:
    """A worker that serves it imports neither transformers nor what stands on it, and no torch."""
    script = """
import sys
from inferloom_worker.hosting.model_loading import load_model
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.embed.options import EmbedOptions

load_model("m", sys.argv[1], LoadOptions(embed=EmbedOptions(device="cpu")))
print({"sentence_transformers", "transformers", "torch"} & sys.modules.keys())
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(minilm_folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_tokenizers_and_templates_of_gguf_files_need_no_large_library(smollm_file: Path) -> None:
    """To read a file's tokens and to render its template takes neither transformers nor torch."""
    script = """
import sys
from pathlib import Path
from inferloom_worker.text.gguf_tokenizer import load_gguf_tokenizer
from inferloom_worker.text.template import ChatTemplate
from inferloom_worker.weights.gguf import read_gguf

tokenizer = load_gguf_tokenizer(read_gguf(Path(sys.argv[1])))
template = ChatTemplate(tokenizer.chat_template, tokenizer.special_tokens)
template.check()
assert tokenizer.encode(template.render([{"role": "user", "content": "Hi"}]), add_special_tokens=False)
print({"transformers", "torch"} & sys.modules.keys())
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(smollm_file)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
