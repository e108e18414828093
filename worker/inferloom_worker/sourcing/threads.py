"""Blocking work that nobody waits for at the end of the process."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def in_background(name: str, work: Callable[[], T]) -> T:
    """Run ``work`` on a thread of its own and return what it returns, or raise what it raises.

    Unlike ``asyncio.to_thread``, the end of the process does not wait for it: a worker that is told to stop
    while it loads a model stops.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def resolve(deliver: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            loop.call_soon_threadsafe(lambda: None if future.done() else deliver())

    def run() -> None:
        try:
            result = work()
        except BaseException as failure:  # it is raised where it is waited for
            resolve(lambda failure=failure: future.set_exception(failure))  # type: ignore[misc]
        else:
            resolve(lambda: future.set_result(result))

    threading.Thread(target=run, name=name, daemon=True).start()
    return await future
