"""Makes one resumable stream: its events are written, and only then seen."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from inferloom.v1.inference_pb2 import GenerateRequest, GenerateResponse
from inferloom_gateway.calls.call_group import CallGroup, GenerateStream
from inferloom_gateway.calls.generation_progress import GenerationProgress
from inferloom_gateway.calls.tokens import Tokens
from inferloom_gateway.storage.streams import KeptStream
from inferloom_gateway.streams.book import Book
from inferloom_mesh.errors import InferloomError

log = logging.getLogger(__name__)

RENEWED_S = 1.5
"""How often a claim is renewed at least."""

_MOST_WAITING = 2**20
"""Bytes of events that wait to be written, before the generation does."""


class Run:
    """An :class:`~inferloom_gateway.calls.sink.EventSink` of a generation.

    Args:
        book: The store's side.
        kept: The stream, claimed for this process.
        calls: The generation's call group, which ends with it.
        stream: The generation.
        request: What was asked for at first.
        known: The events that there are already.
        is_read: Whether somebody reads a stream here.
    """

    def __init__(
        self,
        book: Book,
        kept: KeptStream,
        calls: CallGroup,
        stream: GenerateStream,
        request: GenerateRequest,
        known: list[GenerateResponse],
        is_read: Callable[[KeptStream], bool],
    ) -> None:
        self.changed = asyncio.Event()
        """Set with each news, and replaced."""
        self._book = book
        self._kept = kept
        self._calls = calls
        self._stream = stream
        self._is_read = is_read
        self._progress = GenerationProgress(request)
        for event in known:
            self._progress.take(event)
        self._next = len(known)
        self._waiting: list[bytes] = []
        self._size = 0
        self._ended = False
        self._error: InferloomError | None = None
        self._wake = asyncio.Event()

    async def make(self) -> None:
        """Write what comes until the end, or until nobody wants it any more. Cancelling it lets another
        process go on."""
        kept = self._kept
        try:
            with self._calls:
                self._stream.push_to(self)
                while await self._turn():
                    pass
        except InferloomError as failure:
            log.warning("%s: a resumable stream ends: %s", kept.id, failure.message)
            with suppress(InferloomError):  # the store may be what failed
                await self._book.tell(kept, self._next, [], _said(failure), read=True)
        except asyncio.CancelledError:
            await asyncio.shield(self._book.release(kept))
            raise
        finally:
            self._tell()

    async def _turn(self) -> bool:
        """Write what waits; whether there is more to come."""
        try:
            async with asyncio.timeout(RENEWED_S):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()
        events, self._waiting, self._size = self._waiting, [], 0
        ended = self._ended
        over = _said(self._error) if ended else None
        if not await self._book.tell(self._kept, self._next, events, over, read=self._is_read(self._kept)):
            return False
        self._next += len(events)
        self._stream.resume()
        self._tell()
        if ended:
            return False
        if self._is_read(self._kept) or await self._book.wanted(self._kept):
            return True
        await self._book.forget(self._kept)  # nobody came back in time
        return False

    def _tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    # the generation's sink

    def take(self, event: GenerateResponse) -> None:
        """Take the next event."""
        kind = event.WhichOneof("event")
        if kind == "heartbeat":
            return
        prompt = self._prompt() if kind == "started" else ()
        seen = self._progress.take(event)
        if seen is not None:
            if prompt:
                seen.started.prompt_token_ids.extend(prompt)  # for who goes on with it
            self._add(seen)

    def tokens(self, tokens: Tokens) -> None:
        """Take the next Delta."""
        if self._progress.tokens(tokens) is not None:
            self._add(tokens.event())

    def end(self, error: InferloomError | None) -> None:
        """Take the end."""
        self._ended, self._error = True, error
        self._wake.set()

    def _prompt(self) -> list[int]:
        progress = self._stream.progress
        return list(progress.prompt) if isinstance(progress, GenerationProgress) else []

    def _add(self, event: GenerateResponse) -> None:
        data = event.SerializeToString()
        self._waiting.append(data)
        self._size += len(data)
        if self._size > _MOST_WAITING:
            self._stream.pause()
        self._wake.set()


def _said(error: InferloomError | None) -> str:
    """How a stream ended, as the store keeps it."""
    return "" if error is None else f"{error.reason.value} {error.message}"
