"""The vectors of one request, as they are computed."""

import asyncio
from collections.abc import Callable
from typing import Self

import numpy as np
from numpy.typing import NDArray

from inferloom_mesh.errors import InferloomError

Vectors = NDArray[np.float32]
"""One row per text."""


class VectorStream:
    """Gives rows in the order of the texts, each run of them as soon as it has no gap.

    It belongs to the event loop that it was made on: everything is called there. Iterating yields the index
    of a run's first text and the run's rows; what :meth:`fail` was told is raised once the rows before are
    taken.

    Args:
        count: Texts, at least one.
        on_close: Called when nobody wants the rest.
    """

    def __init__(self, count: int, on_close: Callable[[], object] = lambda: None) -> None:
        self.loop = asyncio.get_running_loop()
        self.closed = False
        """Whether nobody waits for more: it was closed, or it failed."""
        self.queue_s = 0.0
        """Seconds until the first of its texts was computed."""
        self.compute_s = 0.0
        """Seconds from there to the last."""
        self.read_tokens: int | None = None
        """Tokens that were read, where it is known only now. None: it was known before."""
        self._rows: list[NDArray[np.float32] | None] = [None] * count
        self._next = 0
        self._error: InferloomError | None = None
        self._on_close = on_close
        self._news = asyncio.Event()

    def put(self, index: int, row: NDArray[np.float32]) -> None:
        """Take the row of one text."""
        self._rows[index] = row
        if index == self._next:
            self._news.set()

    def fail(self, error: InferloomError) -> None:
        """End it with an error."""
        self.closed = True
        self._error = self._error or error
        self._news.set()

    def close(self) -> None:
        """End it; closing it again, or after its end, does nothing."""
        if not self.closed and self._next < len(self._rows):
            self._on_close()
        self.closed = True
        self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[int, Vectors]:
        first = self._next
        while first < len(self._rows):
            end = first
            while end < len(self._rows) and self._rows[end] is not None:
                end += 1
            if end > first:
                rows = np.stack([row for row in self._rows[first:end] if row is not None])
                self._rows[first:end] = [None] * (end - first)
                self._next = end
                return first, rows
            if self._error is not None:
                raise self._error.kept()
            if self.closed:
                break
            self._news.clear()
            await self._news.wait()
        raise StopAsyncIteration
