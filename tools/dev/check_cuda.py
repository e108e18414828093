"""Check models on a GPU against transformers on the CPU, for every kind of decoder that tests know.

Usage: python tools/dev/check_cuda.py

In float32 an engine on the GPU, with several requests side by side, says token for token what transformers
says for each alone. In bfloat16 its logits are as near to transformers' float32 ones as those of operations
in torch. It ends with 1 where anything differs.
"""

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engines.torch.torch_loading import load_engine, load_model
from inferloom_worker.models.llama import LlamaModel
from inferloom_worker.models.operations import TorchOperations
from inferloom_worker.models.protocol import CausalModel
from inferloom_worker.stepping.batch import Span, StepBatch
from inferloom_worker.stepping.blocks import blocks_for
from tests.worker.engines import generate_all, request
from tests.worker.models import ARCHITECTURES, GENERAL_ONLY, greedy, make_model, reference

CUDA = torch.device("cuda")
PROMPTS = [[(11 * place + 3 * length) % 300 for place in range(length)] for length in (3, 20, 70, 130, 41)]
TOKENS = 24


def main() -> int:
    """Check each architecture in turn."""
    bad = 0
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    print(f"{'':>16}{'tokens in float32':>20}{'KL in bfloat16: here':>24}{'in torch':>12}")
    # Of LongRoPE's frequencies transformers takes those of a call's length, and an engine those of its own.
    for architecture in (name for name in ARCHITECTURES if not name.endswith("longrope")):
        with TemporaryDirectory() as folder:
            bad += not check(architecture, make_model(Path(folder), architecture))
    print("all as they should be" if not bad else f"{bad} are not")
    return 1 if bad else 0


def check(architecture: str, folder: Path) -> bool:
    """Print a row; whether it is as it should be."""
    model = reference(folder)
    expected = [greedy(model, prompt, TOKENS) for prompt in PROMPTS]
    engine = load_engine(
        folder, EngineOptions(dtype="float32", device="cuda", max_running=4, max_step_tokens=64)
    )
    try:
        told = asyncio.run(generate_all(engine, [request(prompt, TOKENS) for prompt in PROMPTS]))
    finally:
        engine.close()
    same = sum(mine == theirs for mine, theirs in zip(told, expected, strict=True))
    with torch.inference_mode():
        truth = model(torch.tensor([PROMPTS[3]])).logits[0].double().log_softmax(-1)
    ours = load_model(folder, torch.bfloat16, CUDA)
    own = divergence(truth, logits(ours))
    line = f"{architecture:>16}{same:>17}/{len(PROMPTS)}{own:>24.2e}"
    fine = same == len(PROMPTS)
    if isinstance(ours, LlamaModel):
        ours._operations = TorchOperations()
        eager = divergence(truth, logits(ours))
        line += f"{eager:>12.2e}"
        fine = fine and own < 1.5 * eager + 1e-6
    print(line + ("" if fine else "   <--"), flush=True)
    assert isinstance(ours, LlamaModel) == (architecture not in GENERAL_ONLY)
    return fine


def logits(model: CausalModel) -> Tensor:
    """Of every place of a prompt that is read in two chunks, and then a token at a time [T, vocabulary]."""
    prompt = PROMPTS[3]
    blocks = list(range(blocks_for(len(prompt))))
    model.allocate(len(blocks))
    parts = []
    for first, last in [(0, 70), (70, 100), *((n, n + 1) for n in range(100, len(prompt)))]:
        span = Span(0, last - first, last, blocks)
        places = list(range(first, last))
        batch = StepBatch(prompt[first:last], places, [span], list(range(last - first)), CUDA)
        parts.append(model.forward(batch).double().cpu())
    return torch.cat(parts).log_softmax(-1)


def divergence(truth: Tensor, other: Tensor) -> float:
    """Mean Kullback-Leibler divergence of log-probabilities [T, vocabulary], in nats."""
    return float((truth.exp() * (truth - other)).sum(-1).mean())


if __name__ == "__main__":
    sys.exit(main())
