"""Work that the end of the process does not wait for."""

import asyncio
import threading

import pytest

from inferloom_worker.sourcing.threads import in_background
from tests.patience import PATIENCE_S


async def test_a_result_and_an_error_come_back() -> None:
    """As from a plain call."""
    assert await in_background("w", lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await in_background("w", lambda: 1 / 0)


async def test_who_no_longer_waits_is_not_disturbed() -> None:
    """A result that comes after cancelling is dropped, and the thread was no obstacle to ending."""
    going, release = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def work() -> None:
        threads.append(threading.current_thread())
        going.set()
        release.wait(PATIENCE_S)

    waiting = asyncio.create_task(in_background("w", work))
    await asyncio.to_thread(going.wait, PATIENCE_S)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    release.set()
    await asyncio.to_thread(threads[0].join, 5)

    assert threads[0].daemon
    assert not threads[0].is_alive()


def test_a_loop_that_is_gone_is_no_error(recwarn: pytest.WarningsRecorder) -> None:
    """The work ends after its event loop has been closed."""
    release, done = threading.Event(), threading.Event()

    def work() -> None:
        release.wait(PATIENCE_S)
        done.set()

    async def start() -> None:
        asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)  # type: ignore[union-attr]
        await in_background("w", work)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(start())
    release.set()

    assert done.wait(PATIENCE_S)
    assert not recwarn.list
