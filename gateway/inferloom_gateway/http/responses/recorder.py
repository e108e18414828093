"""Tells the store of a response while it is made: its claim, its events, and how it stands."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

from inferloom_gateway.http.responses.frames import Numbering
from inferloom_gateway.http.responses.making import Making
from inferloom_gateway.http.responses.under_way import CLAIM_S, UnderWay
from inferloom_gateway.http.translate.responses.assembly import Assembly
from inferloom_gateway.http.translate.responses.parts import Event
from inferloom_gateway.storage.runs import Chunk
from inferloom_mesh.errors import InferloomError, Reason

log = logging.getLogger(__name__)

EVERY_S = 0.2
"""How often new events are written."""

_AGAIN_S = 1.0
"""How long the store is left alone that did not take what ends a response."""

_RENEWED_S = 3.0
_MOST_WAITING = 2**20
"""Bytes of events that wait to be written, before the generation does."""

MOST_BYTES = 64 * 2**20
"""Bytes of events of one response."""


class Recorder:
    """Writes what becomes of one response in background.

    Args:
        under_way: The store's side.
        making: The response.
        assembly: Makes it.
    """

    def __init__(self, under_way: UnderWay, making: Making, assembly: Assembly) -> None:
        self._under_way = under_way
        self._making = making
        self._assembly = assembly
        self._name: str = making.begun["id"]
        self._tenant = making.sealing.tenant
        self._numbering = Numbering()
        self._lines: list[bytes] = []
        self._first = 0
        self._waiting = self._written = 0
        self._status = assembly.status
        self._told = time.monotonic()
        """When the claim was renewed last."""
        self._room = asyncio.Event()
        self._room.set()
        self._over = asyncio.Event()

    def add(self, events: Iterable[Event]) -> None:
        """Take note of events."""
        for _, line in self._numbering.lines(events):
            self._lines.append(line)
            self._waiting += len(line)
        if self._waiting > _MOST_WAITING:
            self._room.clear()

    async def room(self) -> None:
        """Wait while too much is not written yet.

        Raises:
            InferloomError: There is more than is kept of one response.
        """
        if self._written + self._waiting > MOST_BYTES:
            message = f"The events of a response are kept up to {MOST_BYTES // 2**20} MiB."
            raise InferloomError(Reason.SERVER_ERROR, message)
        await self._room.wait()

    async def beside(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do ``work``, and write beside it. It is cancelled if the response was given up meanwhile."""
        task = asyncio.current_task()
        assert task is not None
        writing = asyncio.create_task(self._keep_writing(task))
        try:
            await work()
        finally:  # what is being written is not broken off: its events would be missing
            self._over.set()
            await writing

    async def end(self, *, patient: bool) -> None:
        """Write the rest, and the response as it is; where that cannot be done, again and again while the
        claim lasts and the process goes on, if ``patient``.

        Raises:
            InferloomError: It could not be done.
        """
        made, chunk = self._making.saved(self._assembly.document).document, self._taken()
        while True:
            began = time.monotonic()
            try:
                try:
                    await self._under_way.end(self._tenant, self._name, chunk, made)
                except InferloomError as failure:
                    if not patient or began - self._told > CLAIM_S:
                        raise
                    log.warning("the end of a response in background is not written: %s", failure.message)
                    await asyncio.sleep(_AGAIN_S)
                else:
                    return
            except asyncio.CancelledError:  # the process stops: once more
                if not patient:
                    raise
                patient = False

    async def _keep_writing(self, making: "asyncio.Task[None]") -> None:
        while not await _happens(self._over, EVERY_S):
            now = time.monotonic()
            if not self._lines and now - self._told < _RENEWED_S:
                continue
            try:
                if not await self._write():
                    making.cancel()
                    return
                self._told = now
            except InferloomError as failure:
                log.warning("a response in background is not written: %s", failure.message)
                if now - self._told > CLAIM_S:
                    making.cancel()
                    return

    async def _write(self) -> bool:
        """Write what waits; False: the response was given up."""
        chunk, before = self._taken(), self._status
        self._status = self._assembly.status
        made = self._making.saved(self._assembly.document).document if self._status != before else None
        try:
            return await self._under_way.tell(self._tenant, self._name, chunk, made)
        except InferloomError:
            self._first, self._status = chunk.first, before
            self._lines = [*chunk.lines, *self._lines]
            size = sum(map(len, chunk.lines))
            self._waiting, self._written = self._waiting + size, self._written - size
            if self._waiting > _MOST_WAITING:
                self._room.clear()
            raise

    def _taken(self) -> Chunk:
        """What waits, which waits no more."""
        chunk = Chunk(self._first, self._lines)
        self._first, self._lines = self._numbering.next, []
        self._written += self._waiting
        self._waiting = 0
        self._room.set()
        return chunk


async def _happens(event: asyncio.Event, seconds: float) -> bool:
    """Whether it happens within so many seconds."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
