"""Graphs of CUDA: the seam between captured steps and the device."""

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

RECORDING = threading.Lock()
"""Held by whoever records, and by whoever waits for a whole device, which is refused meanwhile: torch has one
recording in a process at a time."""

_WARM_UPS = 2
"""Runs before recording, in which libraries choose their algorithms and make their workspaces."""


def wait_for(device: torch.device) -> None:
    """Wait until the device has done what this thread gave it; at once if it is the CPU."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


class CudaGraphs:
    """Makes the graphs of one model; they share their memory, since no two run at once."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        # One: libraries keep a workspace for every stream that they ever met.
        self._side = torch.cuda.Stream()

    def new(self) -> "CudaGraph":
        """An empty graph."""
        return CudaGraph(self._pool, self._side)


class CudaGraph:
    """A :class:`~inferloom_worker.models.captured.Graph` on the current CUDA device."""

    def __init__(self, pool: Any, side: torch.cuda.Stream) -> None:
        self._pool = pool
        self._side = side
        self._graph = torch.cuda.CUDAGraph()

    def record(self, work: Callable[[], Tensor]) -> None:
        side = self._side
        with RECORDING:
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
