"""One picture for all viewers: computed while somebody looks, and told as what changed."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from inferloom_gateway.http.sse import KEEP_ALIVE, frame
from inferloom_mesh.errors import overloaded

log = logging.getLogger(__name__)

Sections = dict[str, dict[str, Any]]
"""Sections, such as the workers, and in each the rows by their names."""

MOST_VIEWERS = 16
"""Pages that may look at once, at one process: each process looks for its own."""

INTERVAL_S = 0.5
"""How often is looked at most."""

COST = 0.006
"""Seconds of processor time that looking may take in a second; a larger mesh is looked at less often."""

_BEHIND = 8
"""Changes that wait for a viewer that does not read; past them it gets the whole picture again."""

_SILENCE_S = 1.0


def changes(before: Sections, now: Sections) -> Sections:
    """What is other in ``now``: rows that are new or changed, and None for those that went."""
    found: Sections = {}
    for section in before.keys() | now.keys():
        old, new = before.get(section, {}), now.get(section, {})
        rows = {name: row for name, row in new.items() if old.get(name) != row}
        rows |= dict.fromkeys(old.keys() - new.keys())
        if rows:
            found[section] = rows
    return found


class Live:
    """Looks for as long as there are viewers.

    Args:
        look: Gives the picture as it is now.
        ended: Set when the gateway stops.
        beside: What is to run for as long as there are viewers.
        cpu: Seconds of processor time of this thread.
    """

    def __init__(
        self,
        look: Callable[[], Sections],
        ended: asyncio.Event,
        beside: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._look = look
        self._ended = ended
        self._beside = beside
        self._cpu = cpu
        self._picture: Sections = {}
        self._viewers: set[asyncio.Queue[bytes | None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self.spent = 0.0
        """Seconds of processor time that looking took so far."""

    def check_room(self) -> None:
        """Make sure that one more may look.

        Raises:
            InferloomError: As many look as can.
        """
        if len(self._viewers) >= MOST_VIEWERS:
            raise overloaded(
                f"This process of the gateway has {MOST_VIEWERS} viewers of its console, and takes no more."
            )

    async def view(self) -> AsyncGenerator[bytes, None]:
        """Server-sent events: ``whole`` with the picture, then ``change`` for each change, until the gateway
        stops.

        Raises:
            InferloomError: As many look as can.
        """
        self.check_room()
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(_BEHIND)
        if not self._viewers:
            self._picture = self._timed()[0]
        self._viewers.add(queue)
        try:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._run(), name="console")
            yield frame(self._picture, "whole")
            while True:
                try:
                    async with asyncio.timeout(_SILENCE_S):
                        piece = await queue.get()
                except TimeoutError:
                    if self._ended.is_set():
                        return
                    yield KEEP_ALIVE
                    continue
                if piece is None:
                    return
                yield piece
        finally:
            self._viewers.discard(queue)
            if not self._viewers and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _run(self) -> None:
        try:
            async with self._beside():
                await self._look_on()
        except Exception:  # a bug in looking ends the viewers' streams, and nothing else
            log.exception("the console cannot look at the mesh")
        if self._looking is not asyncio.current_task():  # those who look now look at another
            return
        for queue in self._viewers:
            _put(queue, None)

    async def _look_on(self) -> None:
        took = 0.0
        while not self._ended.is_set():
            await asyncio.sleep(max(INTERVAL_S, took / COST))
            before = self._picture
            self._picture, took = self._timed()
            began = self._cpu()
            if changed := changes(before, self._picture):
                self._tell(frame(changed, "change"))
            more = self._cpu() - began
            took, self.spent = took + more, self.spent + more

    def _tell(self, event: bytes) -> None:
        whole = b""
        for queue in self._viewers:
            if queue.full():
                whole = whole or frame(self._picture, "whole")
                _put(queue, whole)
            else:
                queue.put_nowait(event)

    def _timed(self) -> tuple[Sections, float]:
        began = self._cpu()
        picture = self._look()
        took = self._cpu() - began
        self.spent += took
        return picture, took


def _put(queue: asyncio.Queue[bytes | None], last: bytes | None) -> None:
    """Put what makes all that waits needless."""
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(last)
