"""Waiting for one of several tasks."""

import asyncio
from collections.abc import Sequence
from typing import Any


async def first_of(*waits: "asyncio.Task[Any]", failing: "Sequence[asyncio.Task[Any]]") -> None:
    """Wait until a task of either kind is done; raise what one of ``failing`` failed with."""
    done, _ = await asyncio.wait({*waits, *failing}, return_when=asyncio.FIRST_COMPLETED)
    for task in done.intersection(failing):
        task.result()
