"""A mesh in a thread of this process, for as long as a block lasts."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from inferloom_cli.display import Display
from inferloom_cli.mesh_report import MeshReport
from inferloom_cli.plan import Plan
from inferloom_cli.runmesh.supervisor import Supervisor

_DRAIN_S = 5.0
"""What is still running when the block ends was asked by this process, which waits for nothing any more."""


@contextmanager
def running(plan: Plan, folder: Path, display: Display) -> Iterator[MeshReport]:
    """Run a plan; the block begins when it is ready, and gets its report.

    The services end with this process however it ends, as all that a supervisor starts do.

    Raises:
        GaveUpError: A service cannot be started, or was given up while the block ran.
    """
    ready: Future[MeshReport] = Future()
    stopping: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    ended: list[BaseException] = []

    async def supervise() -> None:
        stop = asyncio.Event()
        stopping.set_result((asyncio.get_running_loop(), stop))
        began = time.monotonic()
        await Supervisor(
            plan,
            folder,
            display,
            drain_limit=_DRAIN_S,
            on_change=lambda report: None if ready.done() else ready.set_result(report),
            began=began,
        ).run(stop)

    def work() -> None:
        try:
            asyncio.run(supervise())
        except BaseException as failure:  # it is raised in the thread that waits
            ended.append(failure)
            for each in (stopping, ready):
                if not each.done():
                    each.set_exception(failure)

    thread = Thread(target=work, name="mesh", daemon=True)
    thread.start()
    loop, stop = stopping.result()
    try:
        yield ready.result()
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
        thread.join()
    for failure in ended:
        raise failure
