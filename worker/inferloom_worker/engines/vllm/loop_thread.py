"""A thread with an event loop of its own."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any


class LoopThread:
    """Runs an event loop until it is stopped; other threads only put calls onto it.

    Args:
        name: The thread's.
    """

    def __init__(self, name: str) -> None:
        self.loop = _new_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def soon(self, call: Callable[..., object], *values: object) -> None:
        """Call something on the loop, if it still runs. From any thread."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(call, *values)

    def result(self, work: Coroutine[Any, Any, Any], limit_s: float | None = None) -> Any:
        """Run work on the loop, and wait for it on another thread.

        Raises:
            TimeoutError: It takes longer.
        """
        done = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return done.result(limit_s)
        except concurrent.futures.TimeoutError:
            done.cancel()
            raise TimeoutError("it took too long") from None

    def stop(self) -> None:
        """End the loop, and what runs on it. From another thread."""
        self.soon(self.loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    with suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()
