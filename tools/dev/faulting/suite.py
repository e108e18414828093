"""The rows of the fault suite: what is done to a mesh, what was seen, and what it may cost at most.

A row is one coroutine with :func:`fault` before it, in a module of :mod:`faulting.rows`. It is given a
:class:`Ground`, builds its mesh there, does its worst, and returns a :class:`Seen`:

    @fault("a worker stopped by a signal", Bars(detected_s=8, gap_s=9))
    async def stopped(ground: Ground) -> Seen:
        async with ground.mesh() as mesh, under_load(mesh, ground.clients) as load:
            mesh.parts["worker0"].signal(signal.SIGSTOP)
            detected = await mesh.parts["gateway0"].says("w0 .* is unreachable", limit_s=20)
        return seen(load, detected)
"""

import asyncio
import importlib
import math
import pkgutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from faulting.load import REPEATS, Load
from faulting.mesh import Plan, RunningMesh

BEFORE_S = 2.0
"""How long a load runs before anything is done."""

AFTER_S = 1.0
"""And how long after the last thing that was."""


@dataclass(frozen=True, kw_only=True)
class Bars:
    """What a fault may cost at most."""

    failed: int = 0
    """Requests."""
    gap_s: float = math.inf
    """The longest time for which a stream that somebody reads says nothing."""
    detected_s: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a fault did cost."""

    failed: int
    """Requests that did not get their answer, or got a wrong one."""
    answered: int
    midway: int = 0
    """Those of the failed ones that broke off after text had come."""
    gap_s: float = math.nan
    call_s: float = math.nan
    """The longest time that a call without a stream took."""
    detected_s: float | None = None
    """None: there was nothing to detect, or nobody did."""
    errors: dict[str, int] = field(default_factory=dict)
    """What clients were told, and how often."""
    wrong: tuple[str, ...] = ()
    """What else was not as it must be: one sentence each."""
    late: tuple[str, ...] = ()
    """What took longer than it may, as it does on a machine that is busy with other things."""
    note: str = ""
    """Figures beside the bars."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Where a row builds its mesh."""

    folder: Path
    python: Path = Path(sys.executable)
    other: Path | None = None
    """The interpreter of another version of the project, if one was named."""
    clients: int = 8
    """Of each of the two sorts, streamed and not."""
    deaths: int = 100
    """How often the row that kills a worker again and again does."""

    def mesh(self, plan: Plan | None = None) -> RunningMesh:
        """A mesh of real processes, to be entered."""
        return RunningMesh(self.python, self.folder, plan)


Inflict = Callable[[Ground], Awaitable[Seen]]


@dataclass(frozen=True)
class Row:
    """One fault."""

    name: str
    bars: Bars
    inflict: Inflict
    quick: bool
    """Whether it is in the five-minute subset."""
    needs_other: bool
    """Whether it takes another version of the project."""

    def missed(self, seen: Seen) -> list[str]:
        """The bars that were missed, and whatever else was wrong; empty: none."""
        found = [*seen.wrong, *seen.late]
        if seen.failed > self.bars.failed:
            found.append(f"{seen.failed} requests failed, {self.bars.failed} may")
        if seen.gap_s > self.bars.gap_s:
            found.append(f"a gap of {seen.gap_s:.1f} s, {self.bars.gap_s:g} s at most")
        if self.bars.detected_s < math.inf and not (
            seen.detected_s is not None and seen.detected_s <= self.bars.detected_s
        ):
            found.append(f"not detected within {self.bars.detected_s:g} s")
        return found


ROWS: dict[str, Row] = {}
"""Every fault by its name, in the order of their modules."""


def fault(
    name: str, bars: Bars, *, quick: bool = False, needs_other: bool = False
) -> Callable[[Inflict], Inflict]:
    """Make a row of a coroutine."""

    def add(inflict: Inflict) -> Inflict:
        if name in ROWS:
            raise ValueError(f"there are two rows named {name!r}")
        ROWS[name] = Row(name, bars, inflict, quick, needs_other)
        return inflict

    return add


def load_rows() -> dict[str, Row]:
    """Every row of every module in :mod:`faulting.rows`."""
    package = importlib.import_module("faulting.rows")
    for module in sorted(each.name for each in pkgutil.iter_modules(package.__path__)):
        importlib.import_module(f"faulting.rows.{module}")
    return ROWS


@asynccontextmanager
async def under_load(mesh: RunningMesh, clients: int, repeats: int = REPEATS) -> AsyncIterator[Load]:
    """Run the block under load, which has begun a while before, and ends a while after. Answers are about 25
    tokens long for each of ``repeats``."""
    load = Load(mesh.urls, clients, repeats)
    running = asyncio.create_task(load.run())
    try:
        await asyncio.sleep(BEFORE_S)
        yield load
        await asyncio.sleep(AFTER_S)
        load.end()
        await running
    finally:
        running.cancel()


def seen(load: Load, detected_s: float | None = None, *, note: str = "", wrong: tuple[str, ...] = ()) -> Seen:
    """What a load has seen."""
    errors = dict(load.streams.errors)
    for why, count in load.calls.errors.items():
        errors[why] = errors.get(why, 0) + count
    return Seen(
        failed=load.streams.failed + load.calls.failed,
        answered=load.streams.answered + load.calls.answered,
        midway=load.streams.lost_midway,
        gap_s=load.streams.silence_s,
        call_s=load.calls.silence_s,
        detected_s=detected_s,
        errors=errors,
        wrong=wrong,
        note=note,
    )
