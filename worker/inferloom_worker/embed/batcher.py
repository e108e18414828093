"""Batches texts of all callers through one model, on a thread of its own."""

import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from inferloom_mesh.errors import InferloomError, overloaded
from inferloom_worker.embed.batches import cut
from inferloom_worker.embed.options import EmbedOptions
from inferloom_worker.embed.vector_stream import Vectors, VectorStream
from inferloom_worker.engine.handover import hand_to_loops
from inferloom_worker.engine.health import Fault, Health, MemorySuspectError, engine_failed, unloaded
from inferloom_worker.stepping.longest_step import LongestStep

log = logging.getLogger(__name__)

Row = NDArray[np.float32]

Item = TypeVar("Item", bound=Sized)
"""A tokenised text, or a pair of them; its length is its tokens."""


class RowModel(Protocol[Item]):
    """What computes a row of numbers for each text."""

    def encode(self, texts: list[Item]) -> Vectors:
        """One row per text."""
        ...


@dataclass(slots=True, eq=False)
class _Text(Generic[Item]):
    """One text of a request."""

    stream: VectorStream
    index: int
    item: Item
    submitted: float
    length: int = field(init=False)

    def __post_init__(self) -> None:
        self.length = len(self.item)


@dataclass(slots=True)
class _Result(Generic[Item]):
    """What became of one text: its row, or why there is none."""

    text: _Text[Item]
    row: Row | InferloomError
    started: float = 0.0
    ended: float = 0.0


class Batcher(Generic[Item]):
    """Computes texts of many requests at once, those of similar lengths together.

    Args:
        model: Computes them.
        options: How many at once.
        failed: The error for the text at an index of its request that could not be computed.
    """

    def __init__(
        self, model: RowModel[Item], options: EmbedOptions, failed: Callable[[int], InferloomError]
    ) -> None:
        self._model = model
        self._options = options
        self._failed = failed
        self._inbox: deque[_Text[Item]] = deque()
        self._changed = threading.Condition()
        self._open: weakref.WeakSet[VectorStream] = weakref.WeakSet()
        """What to fail if this ends or breaks."""
        self.health = Health()
        self.longest_step = LongestStep()
        self._closed = False
        self.running = 0
        """Texts in the batch that is computed now."""
        self.steps = 0
        """Batches that were computed."""
        self._thread = threading.Thread(target=self._run, name="embedder", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Texts that wait."""
        return len(self._inbox)

    def submit(self, texts: Sequence[Item]) -> VectorStream:
        """The rows of texts, at least one. Called on an event loop. Closing the stream takes back what waits.

        Raises:
            InferloomError: SERVER_OVERLOADED when the queue is full, WORKER_LOST when closed. The stream
                raises WORKER_LOST when closed meanwhile, and what ``failed`` makes.
        """
        stream = VectorStream(len(texts))
        now = time.monotonic()
        with self._changed:
            if self.health.fault is not None:
                raise engine_failed()
            if self._closed:
                raise unloaded()
            if self._inbox and len(self._inbox) + len(texts) > self._options.max_waiting:
                raise overloaded(f"{len(self._inbox)} texts are waiting already.")
            self._inbox.extend(_Text(stream, i, item, now) for i, item in enumerate(texts))
            self._open.add(stream)
            self._changed.notify()
        return stream

    def close(self) -> None:
        """Fail what waits with WORKER_LOST and stop the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            while texts := self._receive():
                for batch in cut(texts, size=self._options.batch_size, tokens=self._options.batch_tokens):
                    _hand_over(self._compute([text for text in batch if not text.stream.closed]))
            self._fail_all(unloaded())
        except BaseException as failure:
            # The end of the thread, and so of the embedder: nobody may go on waiting for it.
            log.critical("the embedder's thread failed", exc_info=failure)
            self.health.broke(Fault("an embedder's thread", failure))
            self._fail_all(engine_failed())

    def _fail_all(self, error: InferloomError) -> None:
        with self._changed:
            self._closed = True
            streams = list(self._open)

        def fail(own: list[VectorStream]) -> None:
            for stream in own:
                stream.fail(error)

        hand_to_loops(streams, lambda stream: stream.loop, fail)

    def _receive(self) -> list[_Text[Item]]:
        """Wait for texts and take some, oldest first; none when closed."""
        with self._changed:
            while not (self._inbox or self._closed):
                self._changed.wait()
            if self._closed:
                return []
            # Several batches' worth, so that similar lengths meet; not all, so that nobody waits for ever.
            most = min(len(self._inbox), 8 * self._options.batch_size)
            return [self._inbox.popleft() for _ in range(most)]

    def _compute(self, batch: list[_Text[Item]]) -> list[_Result[Item]]:
        if not batch:
            return []
        self.running = len(batch)
        started = time.monotonic()
        try:
            rows = self._model.encode([text.item for text in batch])
        except MemorySuspectError:
            raise
        except Exception:
            # A text that cannot be computed ends its own request, not those of its neighbours in the batch.
            log.exception("a batch of %d texts failed", len(batch))
            if len(batch) > 1:
                return [result for text in batch for result in self._compute([text])]
            return [_Result(batch[0], self._failed(batch[0].index))]
        finally:
            self.running = 0
        ended = time.monotonic()
        self.longest_step.observe(ended, ended - started)
        self.steps += 1
        finite = [bool(np.isfinite(row).all()) for row in rows]
        return [
            _Result(text, row if good else self._failed(text.index), started, ended)
            for text, row, good in zip(batch, rows, finite, strict=True)
        ]


def _hand_over(results: Sequence[_Result[Item]]) -> None:
    """Give rows to their streams, waking each loop once."""
    hand_to_loops(results, lambda result: result.text.stream.loop, _deliver)


def _deliver(results: list[_Result[Item]]) -> None:
    for result in results:
        text, stream = result.text, result.text.stream
        if stream.closed:
            continue
        if isinstance(result.row, InferloomError):
            stream.fail(result.row)
            continue
        if not stream.compute_s:
            stream.queue_s = result.started - text.submitted
        stream.compute_s = result.ended - text.submitted - stream.queue_s
        stream.put(text.index, result.row)
