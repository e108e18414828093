"""From a thread that computes to the event loops that wait: one wake-up per loop, however many items."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


def hand_to_loops(
    items: Iterable[T],
    loop_of: Callable[[T], asyncio.AbstractEventLoop],
    deliver: Callable[[list[T]], object],
) -> None:
    """Have ``deliver`` called on each item's loop with the items of that loop, in their order.

    Items of a loop that is closed are dropped: nobody waits there.
    """
    by_loop: dict[asyncio.AbstractEventLoop, list[T]] = {}
    for item in items:
        loop = loop_of(item)
        own = by_loop.get(loop)
        if own is None:
            own = by_loop[loop] = []
        own.append(item)
    for loop, own in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(deliver, own)
