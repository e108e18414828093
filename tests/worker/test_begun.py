"""Work that begins in the turn in which it is made."""

import asyncio
from contextvars import ContextVar

import pytest

from inferloom_worker.rpc.attach.begun import begun
from tests.patience import PATIENCE_S


async def test_work_that_does_not_wait_needs_no_task() -> None:
    """It is done when its start returns."""
    done: list[int] = []

    async def work() -> None:
        done.append(1)

    assert begun(work()) is None
    assert done == [1]


async def test_what_waits_goes_on_as_a_task() -> None:
    """With what it waited for, also after a turn of the loop and what is raised there."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    failing: asyncio.Future[int] = loop.create_future()
    seen: list[object] = []

    async def work() -> None:
        seen.append(await future)
        await asyncio.sleep(0)
        try:
            await failing
        except ValueError as error:
            seen.append(error.args)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.sleep(0.001)

    task = begun(work())
    assert task is not None
    loop.call_soon(future.set_result, 7)
    loop.call_later(0.01, failing.set_exception, ValueError("no"))
    await task
    assert seen == [7, ("no",)]


async def test_a_timeout_that_work_begins_with_is_its_own() -> None:
    """It ends the work, and not whoever has begun it."""
    seen: list[object] = []

    async def work() -> None:
        seen.append(asyncio.current_task())
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        except TimeoutError:
            seen.append("late")

    async def reader() -> None:
        task = begun(work())
        seen.append(task)
        await asyncio.sleep(0.05)
        assert asyncio.current_task() is reading
        seen.append("reads")

    reading = asyncio.create_task(reader())
    await reading
    assert seen[0] is seen[1] is not reading
    assert seen[2:] == ["late", "reads"]


async def test_what_work_sets_at_its_beginning_stays_in_it() -> None:
    """Its context is its own from the first line on, and the same behind its first wait."""
    mark: ContextVar[int] = ContextVar("mark", default=0)
    seen: list[int] = []

    async def work() -> None:
        mark.set(1)
        await asyncio.sleep(0)
        seen.append(mark.get())

    task = begun(work())
    assert task is not None
    assert mark.get() == 0
    await task
    assert seen == [1]


async def test_a_timeout_that_has_passed_ends_only_the_work() -> None:
    """Its cancellation comes behind the first step."""
    seen: list[str] = []

    async def work() -> None:
        try:
            async with asyncio.timeout(0):
                await asyncio.sleep(60)
        except TimeoutError:
            seen.append("late")

    task = begun(work())
    assert task is not None
    await task
    assert seen == ["late"]


async def test_a_cancellation_reaches_the_work() -> None:
    """Which may clean up, and what it raises is the task's."""
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            seen.append("cleaned")

    task = begun(work())
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cleaned"]


async def test_an_error_behind_a_wait_is_the_tasks() -> None:
    """As if it had been one from the start."""

    async def work() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    task = begun(work())
    assert task is not None
    with pytest.raises(KeyError):
        await task
