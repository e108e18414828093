"""Starts a coroutine in the turn of the event loop in which it is made."""

import asyncio
from asyncio import _enter_task, _leave_task
from collections.abc import Coroutine, Generator
from contextvars import copy_context
from typing import Any


def begun(work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
    """Run ``work`` to where it first waits, and the rest in its task; None: it did not wait.

    Most calls are taken in without waiting for anything. ``work`` is in a task and a context of its own from
    its first line on, so that a timeout or a task group that it begins with ends it, and never whoever calls
    this. It must not raise before it waits.

    The task is entered as asyncio has it for those who extend it:
    https://docs.python.org/3/library/asyncio-extending.html#task-lifetime-support
    """
    loop, caller, context = asyncio.get_running_loop(), asyncio.current_task(), copy_context()
    coroutine = _Begun(work)
    task = asyncio.Task(coroutine, loop=loop, context=context)
    if caller is not None:
        _leave_task(loop, caller)
    _enter_task(loop, task)
    try:
        waits = context.run(coroutine.begin)
    finally:
        _leave_task(loop, task)
        if caller is not None:
            _enter_task(loop, caller)
    return task if waits else None


class _Begun(Coroutine[Any, Any, None]):
    """A coroutine whose first step is done before its task does one: that step tells for what it waits."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = work
        self._waits: Any = None
        self._told = False
        self._over = False

    def begin(self) -> bool:
        """Do the first step. False: there is no other."""
        self._over = True
        try:
            self._waits = self._work.send(None)
        except StopIteration:
            return False
        self._over = False
        return True

    def send(self, value: Any) -> Any:
        """Go on."""
        if self._over:
            raise StopIteration
        if self._told:
            return self._work.send(value)
        self._told = True
        waits, self._waits = self._waits, None
        return waits

    def throw(self, *raised: Any) -> Any:
        """Go on with an exception, such as a cancellation, which may come before the second step."""
        if self._over:
            raise StopIteration
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
