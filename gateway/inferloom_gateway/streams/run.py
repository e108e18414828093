"""Makes one resumable stream: its events are written, and only then seen."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from inferloom.v1.inference_pb2 import GenerateResponse
from inferloom_gateway.calls.call_group import CallGroup
from inferloom_gateway.storage.streams import KeptStream
from inferloom_gateway.streams.book import CLAIM_S, RENEWED_S, Book
from inferloom_gateway.streams.generation import Generation, logged
from inferloom_mesh.errors import InferloomError, Reason

log = logging.getLogger(__name__)

_MOST_WAITING = 2**20
"""Bytes of events that wait to be written, before the generations do."""

_AGAIN_S = 0.5
_PASSING = frozenset({Reason.STORAGE_UNAVAILABLE, Reason.STORAGE_FULL, Reason.SERVER_OVERLOADED})
"""What a store says that does not take something now."""


class Run:
    """The :class:`~inferloom_gateway.streams.generation.Writer` of a stream's generations. One that fails
    fails all.

    Args:
        book: The store's side.
        kept: The stream, claimed for this process.
        calls: The generations' call group, which ends with it.
        generations: All that the stream has.
        known: How many events there are already.
        is_read: Whether somebody reads a stream here.
    """

    def __init__(
        self,
        book: Book,
        kept: KeptStream,
        calls: CallGroup,
        generations: Sequence[Generation],
        known: int,
        is_read: Callable[[KeptStream], bool],
    ) -> None:
        self.changed = asyncio.Event()
        """Set with each news, and replaced."""
        self._book = book
        self._kept = kept
        self._calls = calls
        self._generations = generations
        self._is_read = is_read
        self._next = known
        self._waiting: list[bytes] = []
        self._size = 0
        self._running = 0
        self._error: InferloomError | None = None
        self._wake = asyncio.Event()
        self._now = asyncio.get_running_loop().time
        self._told = self._now()
        """When the claim was renewed last, by the loop's time."""

    async def make(self) -> None:
        """Write what comes until the end, or until nobody wants it any more. Cancelling it lets another
        process go on, and so does a store that takes nothing while the claim lasts."""
        kept = self._kept
        try:
            with self._calls:
                made = [generation for generation in self._generations if generation.is_made]
                self._running = len(made)
                for generation in made:
                    generation.push_to(self)
                while await self._turn():
                    pass
        except InferloomError as failure:
            log.warning("%s: a resumable stream ends: %s", kept.id, failure.message)
            with suppress(InferloomError):  # the store may be what failed
                if failure.reason in _PASSING:
                    await self._book.release(kept)
                else:
                    await self._book.tell(kept, self._next, [], over(failure), read=True)
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
        ended = self._over
        if self._error is not None:
            self._calls.close(self._error)  # before anybody is told of it
        said, read = over(self._error) if ended else None, self._is_read(self._kept)
        events, size, began = self._waiting, self._size, self._now()
        self._waiting, self._size = [], 0
        try:
            made = await self._book.tell(self._kept, self._next, events, said, read=read)
        except InferloomError as failure:
            if failure.reason not in _PASSING or began - self._told > CLAIM_S:
                raise
            log.warning("%s: a resumable stream waits to be written: %s", self._kept.id, failure.message)
            self._waiting, self._size = [*events, *self._waiting], self._size + size
            self._wake.set()
            await asyncio.sleep(_AGAIN_S)
            return True
        if not made:
            return False
        self._told = began
        self._next += len(events)
        self._tell()
        if ended:
            return False
        for generation in self._generations:
            generation.resume()
        return not await self._left()

    async def _left(self) -> bool:
        """Whether nobody came back in time; it is forgotten then. A store that cannot say so knows of nobody
        who left."""
        try:
            if self._is_read(self._kept) or await self._book.wanted(self._kept):
                return False
            await self._book.forget(self._kept)
        except InferloomError:
            return False
        return True

    def _tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    # what the generations write

    def add(self, number: int, event: GenerateResponse) -> None:
        """Write the next event of a generation."""
        if self._over:
            return  # another one failed
        data = logged(event.SerializeToString(), number, len(self._generations))
        self._waiting.append(data)
        self._size += len(data)
        if self._size > _MOST_WAITING:
            for generation in self._generations:
                generation.pause()
        self._wake.set()

    def ended(self, error: InferloomError | None) -> None:
        """Note that a generation is over."""
        self._running -= 1
        self._error = self._error or error
        self._wake.set()

    @property
    def _over(self) -> bool:
        return self._running == 0 or self._error is not None


def over(error: InferloomError | None) -> str:
    """How a stream ended, as the store keeps it."""
    return "" if error is None else f"{error.reason.value} {error.message}"
