"""Running calls."""

import asyncio

import pytest

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.hosting.running_calls import RunningCalls
from tests.patience import PATIENCE_S


async def test_finishing_waits_for_what_runs() -> None:
    """It returns when the last call has left, and ended none."""
    calls = RunningCalls()
    with calls.run("a"):
        finishing = asyncio.create_task(calls.finish(60))
        await asyncio.sleep(0)
        assert not finishing.done()

    assert await asyncio.wait_for(finishing, PATIENCE_S) == 0


async def test_what_outlives_the_limit_is_ended() -> None:
    """Its ``end`` is called, its check fails with NO_WORKER, and it is counted."""
    calls = RunningCalls()
    told = asyncio.Event()

    async def handler() -> None:
        with calls.run("a") as call:
            call.end = told.set
            await told.wait()
            call.check()

    running = asyncio.create_task(handler())
    await asyncio.sleep(0)

    assert await calls.finish(0) == 1
    with pytest.raises(InferloomError) as caught:
        await running
    assert caught.value.reason is Reason.NO_WORKER


async def test_one_models_calls_are_told_from_anothers() -> None:
    """Unloading a model waits for its own calls only."""
    calls = RunningCalls()
    with calls.run("a"), calls.run("b"):
        assert (calls.count(), calls.count("a"), calls.count("c")) == (2, 1, 0)
        assert await calls.finish(60, "c") == 0
