"""Graphs of CUDA: the seam between captured steps and the device."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_WARM_UPS = 2
"""Runs before recording, in which libraries choose their algorithms and make their workspaces."""


class CudaGraphs:
    """Makes the graphs of one model; they share their memory, since no two run at once."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def new(self) -> "CudaGraph":
        """An empty graph."""
        return CudaGraph(self._pool)


class CudaGraph:
    """A :class:`~inferloom_worker.models.captured.Graph` on the current CUDA device."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._graph = torch.cuda.CUDAGraph()

    def record(self, work: Callable[[], Tensor]) -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                work()
        torch.cuda.current_stream().wait_stream(side)
        # Other threads may use the device meanwhile: an encoder's, or another model's.
        with torch.cuda.graph(self._graph, pool=self._pool, capture_error_mode="thread_local"):
            work()

    def replay(self) -> None:
        self._graph.replay()
