"""Decoding steps as recorded graphs, over buffers that stay where they are.

A decoding step of a small batch is hundreds of short kernels, and starting them one by one takes a GPU's host
longer than they take to run. A graph starts them all at once, as in vLLM and SGLang: it is recorded for a few
sizes of step, and a step is padded to the next of them. Steps that read prompts are computed as they are:
they have work enough, and no two have the same shape.
"""

from bisect import bisect_left
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from inferloom_worker.engine.protocol import Adapter
from inferloom_worker.lora.weights import LoraWeights
from inferloom_worker.models.llama import LlamaModel
from inferloom_worker.models.static_step import StaticStep
from inferloom_worker.stepping.batch import StepBatch
from inferloom_worker.stepping.blocks import blocks_for
from inferloom_worker.stepping.sampler import Chooser

LEAST_BLOCKS = 8
"""Blocks of context in the smallest graphs; each next size has twice as many."""


class Graph(Protocol):
    """Work on a device that is recorded once and then run again as a whole."""

    def record(self, work: Callable[[], Tensor]) -> Tensor:
        """Record ``work``, which reads and writes no memory that moves, and return the tensor that it makes.
        The tensor holds nothing of use before the first replay."""
        ...

    def replay(self) -> None:
        """Run what was recorded; its tensor then holds the result."""
        ...


class CapturedModel:
    """A :class:`~inferloom_worker.models.protocol.CausalModel` whose decoding steps are graphs of another's.

    A graph is recorded when a step of its size first comes.

    Args:
        model: Computes every step, recorded or not.
        max_rows: Decoding sequences in one step at most.
        max_context: Tokens of one sequence at most.
        new_graph: Makes an empty graph.
    """

    def __init__(
        self, model: LlamaModel, *, max_rows: int, max_context: int, new_graph: Callable[[], Graph]
    ) -> None:
        self.vocab_size = model.vocab_size
        self.context_length = model.context_length
        self.hidden_size = model.hidden_size
        self.dtype = model.dtype
        self.device = model.device
        self.chooser: Chooser = model.chooser
        self._model = model
        self._new_graph = new_graph
        self._rows = row_sizes(max_rows)
        self._blocks = block_sizes(blocks_for(max_context))
        self._recorded: dict[tuple[int, int], _Recorded] = {}
        self._scratch = 0

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

    @torch.inference_mode()
    def forward(self, batch: StepBatch) -> Tensor:
        size = self._size(batch)
        if size is None:
            return self._model.forward(batch)
        if size not in self._recorded:
            step = StaticStep(*size, scratch=self._scratch, device=self.device)
            self._recorded[size] = _Recorded(step, self._new_graph(), self._model)
        return self._recorded[size].run(batch)

    def hidden(self, batch: StepBatch) -> Tensor:
        return self._model.hidden(batch)

    def _size(self, batch: StepBatch) -> tuple[int, int] | None:
        """The rows and blocks of the graph that computes a step. None: there is none for it."""
        rows = len(batch.spans)
        if batch.decodes < rows or rows > self._rows[-1] or batch.adapted:
            return None
        blocks = max(len(span.blocks) for span in batch.spans)
        if blocks > self._blocks[-1]:
            return None
        return _next(self._rows, rows), _next(self._blocks, blocks)


class _Recorded:
    """A graph with its buffers."""

    def __init__(self, step: StaticStep, graph: Graph, model: LlamaModel) -> None:
        self._step = step
        self._graph = graph
        self._logits = graph.record(lambda: model.forward(step))

    def run(self, batch: StepBatch) -> Tensor:
        """Logits [R, vocab_size]; they hold until the graph runs again."""
        self._step.fill(batch)
        self._graph.replay()
        rows = len(batch.spans)
        every_row = len(batch.sample_rows) == rows
        return self._logits[:rows] if every_row else self._logits[batch.sample_tensor]


def row_sizes(most: int) -> list[int]:
    """Rows of graphs, rising: close together where a row of padding is much of a step."""
    sizes = [size for size in (1, 2, 4) if size < most]
    return [*sizes, *range(8, most, 8), most]


def block_sizes(most: int) -> list[int]:
    """Blocks of context of graphs, rising: each twice the last, so that no step reads twice what it must."""
    sizes: list[int] = []
    size = LEAST_BLOCKS
    while size < most:
        sizes.append(size)
        size *= 2
    return [*sizes, most]


def _next(sizes: list[int], wanted: int) -> int:
    return sizes[bisect_left(sizes, wanted)]
