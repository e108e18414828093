"""Batches texts of all callers through one encoder, on a thread of its own."""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from inferloom_mesh.errors import InferloomError, Reason, overloaded, server_error
from inferloom_worker.embed.batches import cut
from inferloom_worker.embed.options import EmbedderInfo, EmbedOptions
from inferloom_worker.embed.protocol import Embedded, Vectors
from inferloom_worker.embed.reader import Reader

NO_NUMBERS = "The model computed no finite numbers for this text."

log = logging.getLogger(__name__)


class EncoderModel(Protocol):
    """What computes vectors; see :func:`~inferloom_worker.embed.encoder_loading.load_encoder`."""

    info: EmbedderInfo
    reader: Reader

    def encode(self, texts: list[list[int]]) -> Vectors:
        """One row per text."""
        ...


@dataclass(slots=True, eq=False)
class _Request:
    """A caller that waits for its texts' rows."""

    future: "asyncio.Future[Embedded]"
    loop: asyncio.AbstractEventLoop
    rows: list[Vectors | None]
    left: int
    submitted: float
    started: float | None = None


@dataclass(slots=True, eq=False)
class _Text:
    """One text of a request."""

    request: _Request
    index: int
    ids: list[int]
    length: int = field(init=False)

    def __post_init__(self) -> None:
        self.length = len(self.ids)


class Embedder:
    """A :class:`~inferloom_worker.embed.protocol.TextEmbedder` around an encoder."""

    def __init__(self, model: EncoderModel, options: EmbedOptions) -> None:
        self.info = model.info
        self.reader = model.reader
        self._model = model
        self._options = options
        self._inbox: deque[_Text] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self.running = 0
        """Texts in the batch that is computed now."""
        self._thread = threading.Thread(target=self._run, name="embedder", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Texts that wait."""
        return len(self._inbox)

    async def embed(self, texts: Sequence[list[int]]) -> Embedded:
        """See the protocol."""
        loop = asyncio.get_running_loop()
        request = _Request(
            loop.create_future(), loop, [None] * len(texts), len(texts), submitted=time.monotonic()
        )
        with self._changed:
            if self._closed:
                raise _lost()
            if self._inbox and len(self._inbox) + len(texts) > self._options.max_waiting:
                raise overloaded(f"{len(self._inbox)} texts are waiting already.")
            self._inbox.extend(_Text(request, i, ids) for i, ids in enumerate(texts))
            self._changed.notify()
        return await request.future

    def close(self) -> None:
        """Fail what waits with WORKER_LOST and stop the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while texts := self._receive():
            for batch in cut(texts, size=self._options.batch_size, tokens=self._options.batch_tokens):
                self._compute([text for text in batch if not text.request.future.done()])
        _resolve({text.request: _lost() for text in self._inbox})

    def _receive(self) -> list[_Text]:
        """Wait for texts and take some, oldest first; none when closed."""
        with self._changed:
            while not (self._inbox or self._closed):
                self._changed.wait()
            if self._closed:
                return []
            # Several batches' worth, so that similar lengths meet; not all, so that nobody waits for ever.
            most = min(len(self._inbox), 8 * self._options.batch_size)
            return [self._inbox.popleft() for _ in range(most)]

    def _compute(self, batch: list[_Text]) -> None:
        if not batch:
            return
        self.running = len(batch)
        now = time.monotonic()
        for text in batch:
            text.request.started = text.request.started or now
        try:
            rows = self._model.encode([text.ids for text in batch])
        except Exception:
            # The boundary of the embedder's thread: a batch that fails ends its own requests, no more.
            log.exception("a batch of %d texts failed", len(batch))
            _resolve({text.request: server_error() for text in batch})
            return
        finally:
            self.running = 0
        complete: dict[_Request, Embedded | InferloomError] = {}
        for text, row in zip(batch, rows, strict=True):
            if not np.isfinite(row).all():
                complete[text.request] = InferloomError(Reason.SERVER_ERROR, NO_NUMBERS)
            text.request.rows[text.index] = row
            text.request.left -= 1
            if text.request.left == 0 and text.request not in complete:
                complete[text.request] = _embedded(text.request)
        _resolve(complete)


def _embedded(request: _Request) -> Embedded:
    assert request.started is not None
    vectors = np.stack([row for row in request.rows if row is not None])
    queued = request.started - request.submitted
    return Embedded(vectors, queued, time.monotonic() - request.started)


def _resolve(results: Mapping[_Request, Embedded | InferloomError]) -> None:
    """Give requests what they wait for, waking each of their loops once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Request, Embedded | InferloomError]]] = {}
    for item in results.items():
        by_loop.setdefault(item[0].loop, []).append(item)
    for loop, items in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_deliver, items)


def _deliver(items: list[tuple[_Request, Embedded | InferloomError]]) -> None:
    for request, result in items:
        if request.future.done():
            continue
        if isinstance(result, InferloomError):
            request.future.set_exception(result)
        else:
            request.future.set_result(result)


def _lost() -> InferloomError:
    return InferloomError(Reason.WORKER_LOST, "The model was unloaded.", retry_after=1.0)
