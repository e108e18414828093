"""Processor time of processes and of those that they started."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil


def spent(pids: Iterable[int]) -> float:
    """Seconds that the threads which these processes have now have run, by the scheduler's accounting."""
    return sum(_nanoseconds(pid) for pid in pids) / 1e9


def family(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    return [each.pid for each in psutil.Process(pid).children(recursive=True)]


def _nanoseconds(pid: int) -> int:
    total = 0
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
    return total
