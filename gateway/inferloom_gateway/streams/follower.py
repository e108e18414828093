"""Somebody who reads a resumable stream."""

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferloom_gateway.access.identity import Identity
from inferloom_gateway.storage.streams import KeptStream
from inferloom_mesh.closing import Closing
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason

if TYPE_CHECKING:
    from inferloom_gateway.streams.desk import StreamDesk

_POLL_S = 0.1
_PATIENCE_S = 0.5
_WANTED_S = 1.0


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads a stream, and in whose name it is gone on with."""

    identity: Identity
    context: CallContext
    patience_s: float | None = None
    """For how long he reads, as he says; None: to the end. It is nothing to the stream."""


class Follower(Closing):
    """Reads events in their order, and sees to it that somebody makes them. It is left by closing it.

    Args:
        desk: Where it reads.
        reader: Who reads.
        kept: The stream.
        first: The number of the event that is read first.
        leave: Is called when it is closed.
    """

    def __init__(
        self, desk: "StreamDesk", reader: Reader, kept: KeptStream, first: int, leave: Callable[[], None]
    ) -> None:
        self._desk = desk
        self._reader = reader
        self.kept = kept
        self._place = first
        self._until = math.inf
        if reader.patience_s is not None:
            self._until = asyncio.get_running_loop().time() + reader.patience_s
        self._told = -math.inf
        self._taking: asyncio.Task[None] | None = None
        """Goes on with the stream in this reader's name, and is not done."""
        self._leave: Callable[[], None] | None = leave

    async def read(self) -> Sequence[bytes] | None:
        """Some of the next events; empty where none has come for a moment, None behind the last.

        Raises:
            InferloomError: The stream ended with it, there is no such stream any more, the reader's time is
                over, or this process stops and somebody else has to go on with it.
        """
        run = self._desk.run_of(self.kept)
        changed = None if run is None else run.changed
        news = await self._desk.book.news(self.kept.tenant, self.kept.id, self._place)
        if news.events:
            self._place += len(news.events)
            return news.events
        if news.kept.over is not None:
            if news.kept.over:
                reason, _, message = news.kept.over.partition(" ")
                raise InferloomError(Reason(reason), message)
            return None
        clock = asyncio.get_running_loop().time
        if clock() >= self._until:
            raise InferloomError(Reason.TIMEOUT, "The reader's time is over; the stream goes on.")
        if run is None and self._desk.leaves and self._desk.abandoned(news.kept):
            message = "This gateway stops; another one goes on with the stream."
            raise InferloomError(Reason.NO_WORKER, message, retry_after=1.0)
        patience = min(_PATIENCE_S, self._until - clock())
        if run is None and self._taking is None and clock() - self._told > _WANTED_S:
            self._told = clock()
            await self._desk.book.want(news.kept)
            self._taking = self._desk.take_over(self._reader, news.kept)
        if self._taking is not None:
            await self._take(self._taking, patience)
        elif changed is None:
            await asyncio.sleep(_POLL_S)
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), patience)
        return ()

    def close(self) -> None:
        """Read no more; again, it does nothing."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()
            if self._taking is not None:
                self._taking.cancel()

    async def _take(self, taking: "asyncio.Task[None]", patience: float) -> None:
        """Wait for a moment until the stream is gone on with; raise if nobody will."""
        await asyncio.wait((taking,), timeout=patience)
        if taking.done():
            self._taking = None
            if not taking.cancelled():  # as this process stops
                taking.result()
