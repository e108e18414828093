"""Several calls at once."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


async def gather_bounded(calls: Sequence[Coroutine[Any, Any, T]], limit: int = 128) -> list[T]:
    """Await all calls, at most ``limit`` at once, and return their results in order.

    The first failure cancels the others and is raised as it is.
    """
    if len(calls) == 1:
        return [await calls[0]]
    places = asyncio.Semaphore(limit)

    async def run(call: Coroutine[Any, Any, T]) -> T:
        async with places:
            return await call

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(call)) for call in calls]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        for call in calls:
            call.close()  # those that were cancelled before they began
    return [task.result() for task in tasks]
