"""A keeper and the process that it keeps, with small programs in place of services."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import psutil
import pytest

from inferloom_cli.runmesh.children import Child, Lifeline
from inferloom_cli.runmesh.keeper import GaveUpError, Keeper, ending
from inferloom_cli.runmesh.logs import ServiceLog
from inferloom_cli.runmesh.readiness import Report
from tests.patience import PATIENCE_S

PRELUDE = (
    "import os, signal, sys, time\n"
    "from inferloom_cli.runmesh.readiness import announce\n"
    "def ready(**report): announce({'address': 'a:1', **report}, None)\n"
)
SERVE = "ready(); signal.pause()"


class Bench:
    """A keeper, and what it said."""

    def __init__(self, folder: Path, *scripts: str) -> None:
        self.news: list[str] = []
        self.lines: list[str] = []
        self.reports: list[Report | None] = []
        self.readies: asyncio.Queue[int] = asyncio.Queue()
        self._scripts = iter((*scripts, *[scripts[-1]] * 20))
        self.lifeline = Lifeline()
        self.keeper = Keeper(
            "service",
            self._command,
            ServiceLog(folder, "service", pytest.fail),
            lambda name, line, level: self.lines.append(line),
            self.news.append,
            self._on_ready,
        )
        self.task = self.keeper.start(self.lifeline)

    def _command(self, report: Report | None) -> Sequence[str]:
        self.reports.append(report)
        return [sys.executable, "-c", PRELUDE + next(self._scripts)]

    def _on_ready(self) -> None:
        assert self.keeper.pid is not None
        self.readies.put_nowait(self.keeper.pid)

    async def ready(self) -> psutil.Process:
        """Wait until the service is ready; return its process."""
        return psutil.Process(await asyncio.wait_for(self.readies.get(), PATIENCE_S))


MakeBench = Callable[..., Bench]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[MakeBench]:
    made: list[Bench] = []

    def make(*scripts: str) -> Bench:
        made.append(Bench(tmp_path, *scripts))
        return made[-1]

    yield make
    for one in made:
        one.keeper.kill()
        await asyncio.gather(one.task, return_exceptions=True)
        one.keeper.log.close()
        one.lifeline.close()


async def gone(process: psutil.Process) -> None:
    """Wait until a process has ended."""
    await asyncio.to_thread(process.wait, 20)


async def test_a_killed_service_is_started_again_on_its_address(bench: MakeBench) -> None:
    """The new process is told what the old one had said, and the end and the return are told."""
    one = bench(SERVE)
    first = await one.ready()
    first.kill()
    second = await one.ready()
    assert second.pid != first.pid
    assert one.reports == [None, {"address": "a:1"}]
    assert one.news[0].startswith("service was ended by SIGKILL; starting it again in 0.")
    assert one.news[1].startswith("service is back after ")


async def test_a_service_that_refuses_its_first_start_is_given_up_at_once(bench: MakeBench) -> None:
    """It has said why, and its last lines are handed on."""
    one = bench("sys.exit('no such model')")
    with pytest.raises(GaveUpError, match="service ended with status 1 while it started") as given_up:
        await asyncio.wait_for(one.task, PATIENCE_S)
    assert given_up.value.tail == ("no such model",)
    assert len(one.reports) == 1


async def test_a_service_that_fails_to_come_back_is_given_up_after_three_starts(bench: MakeBench) -> None:
    """It was ready once, so it is tried again, but not for ever."""
    one = bench(SERVE, "sys.exit('the model is gone')")
    (await one.ready()).kill()
    with pytest.raises(GaveUpError, match="keeps failing to start"):
        await asyncio.wait_for(one.task, PATIENCE_S)
    assert len(one.reports) == 4


async def test_stopping_lets_a_service_finish(bench: MakeBench) -> None:
    """It gets SIGTERM and the time that it needs within the limit."""
    one = bench("signal.signal(signal.SIGTERM, lambda *_: (print('drained'), sys.exit())); " + SERVE)
    await one.ready()
    await one.keeper.stop(20)
    assert one.lines[-1] == "drained"
    assert one.news == []


async def test_a_service_that_will_not_stop_is_ended(bench: MakeBench) -> None:
    """The limit holds, and so does the news of it."""
    one = bench("signal.signal(signal.SIGTERM, signal.SIG_IGN); ready(); time.sleep(600)")
    process = await one.ready()
    await one.keeper.stop(0.1)
    assert not process.is_running()
    assert "did not stop within" in one.news[0]


async def test_a_service_that_is_stopped_is_not_started_again(bench: MakeBench) -> None:
    """Its end was asked for."""
    one = bench(SERVE)
    await one.ready()
    await one.keeper.stop(20)
    assert one.task.done()
    assert len(one.reports) == 1


async def test_a_service_leads_its_own_session(bench: MakeBench) -> None:
    """A terminal's Ctrl-C goes to the supervisor alone."""
    one = bench(SERVE)
    process = await one.ready()
    assert os.getsid(process.pid) == process.pid


async def test_a_service_reads_the_end_of_its_supervisor_from_the_lifeline(bench: MakeBench) -> None:
    """Its descriptor reads as closed once the supervisor no longer holds the other end."""
    one = bench(
        "ready(); os.read(int(os.environ['INFERLOOM_LIFELINE_FD']), 1); os.kill(os.getpid(), signal.SIGKILL)"
    )
    process = await one.ready()
    one.keeper._stopping.set()
    one.lifeline.close()
    await gone(process)
    one.lifeline = Lifeline()


async def test_what_a_service_started_ends_with_it(bench: MakeBench) -> None:
    """Being ended at once takes its whole process group along."""
    one = bench(
        "import subprocess; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); ready(); time.sleep(600)"
    )
    process = await one.ready()
    [grandchild] = process.children()
    await one.keeper.stop(0.1)
    await gone(grandchild)


async def test_a_line_without_an_end_does_not_stop_the_others(bench: MakeBench) -> None:
    """A line far over the limit is dropped, and the next ones arrive."""
    one = bench("print('x' * 3_000_000); print('after', flush=True); " + SERVE)
    await one.ready()
    await one.keeper.stop(20)
    assert one.lines[-1] == "after"


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "ended with status 0"), (3, "ended with status 3"), (-signal.SIGSEGV, "was ended by SIGSEGV")],
)
def test_an_end_in_words(status: int, words: str) -> None:
    """An exit status is a number, a signal has a name."""
    assert words == ending(status)


@pytest.mark.parametrize(
    ("script", "said"),
    [("import sys; print(len(sys.stdin.buffer.read()))", ["1048576"]), ("print('deaf')", ["deaf"])],
)
async def test_what_a_process_is_handed_arrives_whole(script: str, said: list[str]) -> None:
    """More than a pipe holds; one that does not read it ends all the same."""
    lines: list[str] = []
    lifeline = Lifeline()
    child = await Child.start([sys.executable, "-c", script], lifeline, lines.append, given=b"x" * 2**20)
    assert await asyncio.wait_for(child.wait(), PATIENCE_S) == 0
    lifeline.close()
    assert lines == said
