"""What the request bodies of a whole process may take: memory, and turns on the thread that reads them."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from inferloom_mesh.errors import overloaded

T = TypeVar("T")

MOST_WAITING = 256
"""Bodies that may wait for their turn on the thread."""


class Intake:
    """Bounds the bodies that are being read.

    Args:
        most_bytes: Bytes of bodies that may be held at once. A body that came whole with its head, and is
            small, is not counted: what the connections hold by themselves bounds those.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.held = 0
        """Bytes that are held now."""
        self._waiting = 0
        # One thread: the event loop waits for the GIL behind every thread that computes.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bodies")

    @contextmanager
    def hold(self) -> Iterator["Held"]:
        """Count what one body holds, until the block ends."""
        held = Held(self)
        try:
            yield held
        finally:
            self.held -= held.size

    async def run(self, read: Callable[[], T]) -> T:
        """Run ``read`` on the thread.

        Raises:
            InferloomError: Too many wait for it.
        """
        if self._waiting >= MOST_WAITING:
            raise overloaded("The gateway is reading as many requests as it takes.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, read)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Stop the thread, without the bodies that wait for it."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def take(self, size: int) -> None:
        """Count more bytes.

        Raises:
            InferloomError: There is no room for them.
        """
        if self.held + size > self._most_bytes:
            raise overloaded("The gateway holds as many bytes of requests as it takes.")
        self.held += size


class Held:
    """What one body holds."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.size = 0

    def add(self, size: int) -> None:
        """Hold more bytes. Raises InferloomError if there is no room for them."""
        self._intake.take(size)
        self.size += size
