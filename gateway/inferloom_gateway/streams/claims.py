"""Claims on resumable streams that nobody is left with when a caller leaves amid a write."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from inferloom_gateway.storage.streams import KeptStream
from inferloom_gateway.streams.book import Book
from inferloom_mesh.errors import InferloomError


class Claims:
    """What is written for a claim is written to its end, whoever waits for it: a write that runs cannot be
    taken back, and a stream that is claimed and not made has its name and its place for nothing.

    Args:
        book: The store's side.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._writes: set[asyncio.Task[None]] = set()

    async def begin(self, kept: KeptStream) -> KeptStream:
        """As :meth:`Book.begin`; cancelled, it leaves no stream."""
        mine = await self._claimed(self._book.begin(kept), self._book.forget)
        assert mine is not None
        return mine

    async def take_over(self, kept: KeptStream) -> KeptStream | None:
        """As :meth:`Book.take_over`; cancelled, it leaves the stream to others."""
        return await self._claimed(self._book.take_over(kept), self._book.release)

    async def forget(self, mine: KeptStream) -> None:
        """Forget one that is given up. Where the store cannot be used that is, when its time is over."""
        await asyncio.shield(self._behind(self._book.forget(mine)))

    async def release(self, mine: KeptStream) -> None:
        """Let any other process go on with it; at the latest it can when the claim has run out."""
        await asyncio.shield(self._behind(self._book.release(mine)))

    async def settled(self) -> None:
        """Wait for what is still to be written."""
        while self._writes:
            await asyncio.wait(self._writes)

    async def _claimed(
        self,
        claim: Coroutine[Any, Any, KeptStream | None],
        give_back: Callable[[KeptStream], Awaitable[None]],
    ) -> KeptStream | None:
        claiming = asyncio.create_task(claim)

        async def undo() -> None:
            if (mine := await claiming) is not None:
                await give_back(mine)

        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            self._behind(undo())
            raise

    def _behind(self, write: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        async def done() -> None:
            with suppress(InferloomError):
                await write

        task = asyncio.create_task(done())
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return task
