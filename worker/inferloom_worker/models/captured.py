"""Steps as recorded graphs, over buffers that stay where they are.

A step is hundreds of short kernels, and starting them one by one takes a GPU's host longer than most take to
run. A graph starts them all at once, as in vLLM and SGLang: it is recorded for a few sizes of step, and a
step is padded to the next of them. Steps that read much of prompts are computed as they are: they have work
enough.
"""

import logging
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from inferloom_worker.engine.adapter import Adapter
from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.lora.weights import LoraWeights
from inferloom_worker.models.graph_sizes import GraphSizes, StepSize
from inferloom_worker.models.llama import LlamaModel
from inferloom_worker.models.static_step import StaticStep
from inferloom_worker.stepping.batch import StepBatch
from inferloom_worker.stepping.sampler import Chooser

log = logging.getLogger(__name__)


class Graph(Protocol):
    """Work on a device that is recorded once and then run again as a whole."""

    def record(self, work: Callable[[], Tensor]) -> None:
        """Record ``work``, which reads and writes no memory that moves. What it writes holds nothing of use
        before the first replay."""
        ...

    def replay(self) -> None:
        """Run what was recorded."""
        ...


class CapturedModel:
    """A :class:`~inferloom_worker.models.protocol.CausalModel` whose steps are graphs of another's.

    A graph is recorded when a step of its size first comes, or before by :meth:`prepare`.

    Args:
        model: Computes every step, recorded or not.
        sizes: Of the steps that are recorded.
        new_graph: Makes an empty graph.
    """

    def __init__(self, model: LlamaModel, *, sizes: GraphSizes, new_graph: Callable[[], Graph]) -> None:
        self.vocab_size = model.vocab_size
        self.context_length = model.context_length
        self.hidden_size = model.hidden_size
        self.dtype = model.dtype
        self.device = model.device
        self.chooser: Chooser = model.chooser
        self._model = model
        self._new_graph = new_graph
        self._sizes = sizes
        self._recorded: dict[StepSize, _Recorded] = {}
        self._without: set[StepSize] = set()
        """Those that there was no memory for."""
        self._scratch = 0
        # One for all graphs: what each had for itself would be gigabytes of a large vocabulary's.
        self._logits = torch.empty((sizes.samples, self.vocab_size), device=self.device)

    @property
    def weights_bytes(self) -> int:
        return self._model.weights_bytes

    @property
    def kv_bytes_per_token(self) -> int:
        return self._model.kv_bytes_per_token

    def allocate(self, blocks: int) -> None:
        """One block more is made, for the state of padding."""
        self._model.allocate(blocks + 1)
        self._scratch = blocks

    def adapter(self, weights: LoraWeights) -> Adapter:
        """Steps with adapters are computed as they are."""
        return self._model.adapter(weights)

    def prepare(self) -> None:
        """Make ready whatever is made once, so that no step waits for that: graphs of all sizes, and what
        chooses tokens. The cache is there, and no step under way."""
        for size in self._sizes:
            try:
                self._graph(size)
            except torch.OutOfMemoryError:
                self._without.add(size)
        if self._without:
            log.warning(
                "the device has no memory for graphs of %d of %d sizes of steps, which take longer without",
                *(len(self._without), len(self._without) + len(self._recorded)),
            )
        # The device loads the code of choosing tokens when it is first used.
        rows = [Sampling(temperature=1.0), Sampling(temperature=1.0, top_p=0.5)]
        for settings in (rows[:1], rows[1:], rows):
            logits = torch.zeros((len(settings), self.vocab_size), device=self.device)
            self.chooser.draw(logits, settings, np.full(len(settings), 0.5))

    @torch.inference_mode()
    def forward(self, batch: StepBatch) -> Tensor:
        size = self._sizes.fit(batch)
        if size is None or size in self._without:
            return self._model.forward(batch)
        return self._graph(size).run(batch)

    def hidden(self, batch: StepBatch) -> Tensor:
        return self._model.hidden(batch)

    @torch.inference_mode()
    def _graph(self, size: StepSize) -> "_Recorded":
        if size not in self._recorded:
            step = StaticStep(size, scratch=self._scratch, device=self.device)
            logits = self._logits[: size.samples]
            self._recorded[size] = _Recorded(step, self._new_graph(), self._model, logits)
        return self._recorded[size]


class _Recorded:
    """A graph with its buffers."""

    def __init__(self, step: StaticStep, graph: Graph, model: LlamaModel, logits: Tensor) -> None:
        self._step = step
        self._graph = graph
        self._logits = logits
        graph.record(lambda: logits.copy_(model.forward(step)))

    def run(self, batch: StepBatch) -> Tensor:
        """Logits [R, vocab_size]; they hold until a graph of the model runs again."""
        self._step.fill(batch)
        self._graph.replay()
        return self._logits[: len(batch.sample_rows)]
