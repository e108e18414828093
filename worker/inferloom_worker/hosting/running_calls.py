"""The calls that are running, so that a worker can wait for them and end them."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from inferloom_mesh.errors import stopped

LEAVING_S = 1.0
"""Seconds that an ended call gets to leave. One whose client does not read is stuck: the server ends it."""


@dataclass(eq=False, slots=True)
class Call:
    """One running call. ``end`` makes what it waits for return; ``ended`` says that this was asked for."""

    model: object
    end: Callable[[], object] = lambda: None
    ended: bool = False

    def check(self) -> None:
        """Fail if the call was ended.

        Raises:
            InferloomError: NO_WORKER, so that a gateway goes on with it elsewhere and holds nothing against
                it.
        """
        if self.ended:
            raise stopped()


class RunningCalls:
    """The running calls of one worker, over all its models.

    A model is told by itself and not by its name, which a new one may have before the old one's calls are
    over.
    """

    def __init__(self) -> None:
        self._calls: set[Call] = set()
        self._left = asyncio.Event()

    def count(self, model: object = None) -> int:
        """How many run: on one model, or on all."""
        return len(self._of(model))

    @contextmanager
    def run(self, model: object) -> Iterator[Call]:
        """Count a call for as long as the context lasts."""
        call = self.enter(model)
        try:
            yield call
        finally:
            self.leave(call)

    def enter(self, model: object) -> Call:
        """Count a call until it :meth:`leave`."""
        call = Call(model)
        self._calls.add(call)
        return call

    def leave(self, call: Call) -> None:
        """Count it no more."""
        self._calls.discard(call)
        self._left.set()

    async def finish(self, limit_s: float, model: object = None) -> int:
        """Wait until none runs, for ``limit_s`` seconds at most, then end the rest.

        Returns how many these were.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._none_left(model)
            return 0
        rest = self._of(model)
        for call in rest:
            call.ended = True
            call.end()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVING_S):
                await self._none_left(model)
        return len(rest)

    async def _none_left(self, model: object) -> None:
        while self._of(model):
            self._left.clear()
            await self._left.wait()

    def _of(self, model: object) -> list[Call]:
        return [call for call in self._calls if model is None or call.model is model]
