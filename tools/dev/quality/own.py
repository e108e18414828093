"""Inferloom's own distributions."""

from collections.abc import Iterator
from pathlib import Path

from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engines.torch.torch_loading import load_causal
from inferloom_worker.models.protocol import CausalModel
from inferloom_worker.stepping.batch import Span, StepBatch
from inferloom_worker.stepping.blocks import BLOCK_TOKENS, blocks_for
from quality.distance import Logs, coarse, log_softmax
from quality.windows import FIRST, SCORED, WINDOW


class Own:
    """A model as the engine loads and computes it."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._model: CausalModel = load_causal(path, options)
        self._model.allocate(blocks_for(WINDOW))
        self.computes = f"{type(self._model).__name__}, {self._model.dtype}".replace("torch.", "")
        """The path that the engine chose, and what its products are computed in."""

    def logs(self, windows: list[list[int]]) -> Iterator[Logs]:
        """The distributions of each window, [SCORED, vocabulary]."""
        blocks = list(range(WINDOW // BLOCK_TOKENS))
        rows = list(range(FIRST, FIRST + SCORED))
        for tokens in windows:
            step = StepBatch(tokens, list(range(WINDOW)), [Span(0, WINDOW, WINDOW, blocks)], rows)
            yield coarse(log_softmax(self._model.forward(step).numpy()))
