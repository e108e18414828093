"""Ends streams whose callers take nothing of what there is for them."""

from __future__ import annotations  # grpc's generic types cannot be subscripted at run time

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from inferloom_mesh.errors import InferloomError, Reason

log = logging.getLogger(__name__)

LOOKS = 6
"""So many looks in the time that a caller may take nothing."""


class SlowCallers:
    """Looks at streams that send, at intervals, while there are some.

    A message is sent when the caller's window has taken it. One that does not get out for so long ends its
    stream, which frees what the stream held; its caller, if it ever reads on, gets what is under way and then
    the reason.

    Args:
        patience_s: How long one message may take.
    """

    def __init__(self, patience_s: float) -> None:
        self.cut = 0
        """Streams that were ended so far."""
        self._patience_s = patience_s
        self._open: set[Sending] = set()
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def watched(self, context: grpc.aio.ServicerContext[Any, Any]) -> Iterator[Sending]:
        """Look after the stream that the current task sends, until the block ends."""
        sending = Sending(context, self._patience_s)
        self._open.add(sending)
        if self._timer is None:
            self._later()
        try:
            yield sending
        finally:
            self._open.discard(sending)

    def _later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._patience_s / LOOKS, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._open:
            return
        for sending in tuple(self._open):
            self.cut += sending.check()
        self._later()


class Sending:
    """A stream that the current task sends."""

    __slots__ = ("_clock", "_context", "_cut", "_patience_s", "_since", "_task")

    def __init__(self, context: grpc.aio.ServicerContext[Any, Any], patience_s: float) -> None:
        task = asyncio.current_task()
        assert task is not None, "a call is answered by a task"
        self._task = task
        self._clock = task.get_loop().time
        self._context = context
        self._patience_s = patience_s
        self._since: float | None = None
        self._cut = False

    async def send(self, message: Any) -> None:
        """Send a message.

        Raises:
            InferloomError: REQUEST_TIMEOUT: the caller did not take it.
        """
        self._since = self._clock()
        try:
            await self._context.write(message)
        except asyncio.CancelledError:
            if not self._cut or self._task.uncancel():
                raise
            message = f"Nothing was read of the answer for {self._patience_s:g} s."
            raise InferloomError(Reason.REQUEST_TIMEOUT, message) from None
        finally:
            self._since = None

    def check(self) -> bool:
        """End it if it is stuck; whether that is so."""
        if self._since is None or self._cut or self._clock() - self._since < self._patience_s:
            return False
        self._cut = True
        client = self._context.peer()
        log.warning("cut off %s: it has taken nothing for %g s", client, self._clock() - self._since)
        self._task.cancel()
        return True
