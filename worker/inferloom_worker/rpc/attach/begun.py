"""Starts a coroutine in the turn of the event loop in which it is made."""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any


def begun(work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
    """Run ``work`` to where it first waits, and the rest as a task; None: it did not wait.

    Most calls are taken in without waiting for anything, and need neither a task nor a turn of the loop. Up
    to there the current task is whoever calls this, so that ``work`` must not begin with a timeout of its
    own. It must not raise before it waits.
    """
    try:
        waits = work.send(None)
    except StopIteration:
        return None
    return asyncio.create_task(_Begun(work, waits))


class _Begun(Coroutine[Any, Any, None]):
    """A coroutine that waits for something, as one that has not begun: its first step tells for what."""

    def __init__(self, work: Coroutine[Any, Any, None], waits: Any) -> None:
        self._work = work
        self._waits = waits
        self._told = False

    def send(self, value: Any) -> Any:
        """Go on."""
        if self._told:
            return self._work.send(value)
        self._told = True
        waits, self._waits = self._waits, None
        return waits

    def throw(self, *raised: Any) -> Any:
        """Go on with an exception, such as a cancellation, which may come before the first step."""
        if not self._told:
            self._told = True
            if isinstance(self._waits, asyncio.Future):
                self._waits.cancel()
            self._waits = None
        return self._work.throw(*raised)

    def close(self) -> None:
        """End it."""
        self._work.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._work.__await__()
