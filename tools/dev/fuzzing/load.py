"""Loading a mutated file as a worker does, and computing a token."""

import traceback
from pathlib import Path

import numpy as np
import torch

from fuzzing.cases import Bases
from inferloom_worker.embed.bert import BertWeights, read_shape
from inferloom_worker.embed.native import NativeEncoder, can_compute
from inferloom_worker.engine.adapter import Adapter
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engines.torch.torch_loading import load_causal
from inferloom_worker.lora.weights import read_lora
from inferloom_worker.models.protocol import CausalModel
from inferloom_worker.stepping.batch import Span, StepBatch

_OURS = Path(__file__).parents[3] / "worker"


class Refused(Exception):  # noqa: N818 # it is no fault
    """The file was refused in words."""


def compute(kind: str, path: Path, bases: Bases) -> None:
    """Load a case and compute a token with it.

    Raises:
        Refused: It was refused.
        Exception: Anything else is a bug.
    """
    try:
        if kind == "encoder":
            _encode(path)
        elif kind == "adapter":
            model = bases.base_of_adapters
            _step(model, model.adapter(read_lora(path, 64)))
        else:
            model = load_causal(
                path, EngineOptions(dtype="float32" if kind == "torch" else "auto", threads=1)
            )
            model.allocate(4)
            _step(model, None)
    except (ValueError, OSError, MemoryError) as failure:
        # Only what our own code raises is said in words; the same types from elsewhere are accidents.
        last = traceback.extract_tb(failure.__traceback__)[-1]
        raised = _OURS in Path(last.filename).parents and (last.line or "").startswith("raise")
        if raised or isinstance(failure, MemoryError | FileNotFoundError):
            raise Refused from failure
        raise


def _step(model: CausalModel, adapter: Adapter | None) -> None:
    tokens = [token % model.vocab_size for token in (1, 7, 30, 2, 9)]
    span = Span(0, 5, 5, [1], adapter)
    logits = model.forward(StepBatch(tokens, list(range(5)), [span], [4]))
    (token,) = model.chooser.argmax(logits)
    if token < 0:
        raise Refused  # "The model computed no finite numbers"


def _encode(path: Path) -> None:
    shape = read_shape(path)
    if not can_compute(shape):
        raise Refused
    weights = BertWeights(path / "model.safetensors")
    vectors = NativeEncoder(shape, "mean", weights, 1).encode([[1, 7, 3], [2]])
    if not np.isfinite(vectors).all():
        raise Refused
    assert torch.from_numpy(vectors).shape == (2, shape.hidden)
