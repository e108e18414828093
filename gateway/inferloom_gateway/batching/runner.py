"""Runs batches in one gateway process, beside all others that share its store."""

import asyncio
import logging
import math
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from inferloom_gateway.batching.chunk_run import ChunkRun, Means
from inferloom_gateway.batching.claims import give_back
from inferloom_gateway.batching.gate import Gate
from inferloom_gateway.batching.holds import Holds
from inferloom_gateway.batching.input_file import Missing
from inferloom_gateway.batching.line_call import Ask
from inferloom_gateway.batching.pace import Pace
from inferloom_gateway.batching.steps import do_step
from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.storage import batch_chunks, batch_lifecycle, batch_work, runners
from inferloom_gateway.storage.batch_work import Work
from inferloom_gateway.storage.runners import BEATS, Watch
from inferloom_gateway.storage.storage import Storage
from inferloom_gateway.storage.store import Store
from inferloom_mesh.errors import InferloomError

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the store is looked at for work that others left there."""

AGAIN_S = 5.0
"""How long it is left alone when it cannot be used, and a batch whose step could not be done."""

MOST_SIDE_BY_SIDE = 16
"""Chunks up to which every batch has one, also where those of others have lines enough."""

MOST_STEPS = 4
"""Batches that one process validates or finishes at once."""


class Runner:
    """Claims lines and answers them.

    Args:
        storage: Where batches are.
        ask: Answers one line.
        missing: Says which models there are not.
        settings: The gateway's.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        storage: Storage,
        ask: Ask,
        missing: Missing,
        settings: GatewaySettings,
        clock: Callable[[], float],
    ) -> None:
        self._storage = storage
        self._missing = missing
        self._settings = settings
        self._clock = clock
        self._most = settings.batch_concurrency
        pace = Pace(self._most)
        self._holds = Holds()
        self._put_off = Holds()
        """Batches whose step could not be done."""
        self._means = Means(Gate(pace, clock), pace, self._holds, ask, storage.now, clock)
        self._name = ""
        """This runner's, while it has claims."""
        self._watch = Watch(settings.batch_lease_s)
        self._beat_s = settings.batch_lease_s / BEATS
        self._beaten = -math.inf
        self._full = False
        self._runs: dict[asyncio.Task[None], ChunkRun] = {}
        self._steps: set[asyncio.Task[None]] = set()

    async def run(self, stopping: asyncio.Event, limit_s: float) -> None:
        """Answer lines until ``stopping`` is set; those that run then have ``limit_s`` seconds more."""
        if not self._storage.on or not self._most:
            return
        stopped = asyncio.create_task(stopping.wait())
        try:
            while not stopping.is_set():
                try:
                    if self._storage.used:
                        await self._turn(await self._storage.open())
                except InferloomError as failure:
                    log.warning("batches stand still: %s", failure.message)
                    await asyncio.wait((stopped,), timeout=AGAIN_S)
                await self._pause(stopped)
        finally:
            stopped.cancel()
            await self._leave(limit_s)

    async def _pause(self, stopped: asyncio.Task[Any]) -> None:
        woken = asyncio.create_task(self._storage.woken.wait())
        await asyncio.wait(
            (woken, stopped), timeout=min(LOOK_S, self._beat_s), return_when=asyncio.FIRST_COMPLETED
        )
        woken.cancel()
        self._storage.woken.clear()

    async def _turn(self, store: Store) -> None:
        """Look once at all there is to do, and begin what there is room for."""
        pending = await store.database.read(batch_work.pending)
        if not pending.any:
            if self._name and not (self._runs or self._steps):
                await self._resign(store)
            return
        if not self._name:
            await self._join(store)
        if self._clock() - self._beaten >= self._beat_s:
            await self._beat(store)
        for task, run in self._runs.items():
            if run.chunk.batch not in pending.running:  # cancelled, or its time is over
                task.cancel()
        if pending.steps:
            while len(self._steps) < MOST_STEPS and await self._begin_step(store):
                pass
        if pending.lines and await self._has_room(store):
            while self._lines() < self._most and await self._begin_chunk(store, first=False):
                pass
            while len(self._runs) < MOST_SIDE_BY_SIDE and await self._begin_chunk(store, first=True):
                pass

    def _lines(self) -> int:
        """Lines that this runner has claimed."""
        return sum(run.left for run in self._runs.values())

    async def _beat(self, store: Store) -> None:
        """Say that this runner is alive, and find out whether the others are."""
        self._beaten = self._clock()
        if not await store.database.write(lambda at: runners.beat(at, self._name)):
            log.warning("batches: other gateways thought this one dead; what it had claimed is theirs")
            await self._abandon()
            await self._resign(store)
            await self._join(store)
        now = self._storage.now()

        def tidy(at: sqlite3.Connection) -> None:
            runners.free(at)
            batch_lifecycle.expire(at, now)

        await store.database.write(tidy)
        for silent in self._watch.silent(await store.database.read(runners.beats), self._clock()):
            if silent != self._name:
                log.warning("batches: runner %s is gone; its lines are taken over", silent)
                await store.database.write(partial(runners.release, runner=silent))

    async def _join(self, store: Store) -> None:
        name = secrets.token_hex(8)
        await store.database.write(lambda at: runners.join(at, name))
        self._name = name

    async def _has_room(self, store: Store) -> bool:
        """Whether the disk has room for more answers; those of lines that run may need what is spare."""
        full = False
        try:
            await store.check_disk()
        except InferloomError as failure:
            full = True
            if not self._full:
                log.warning("no more lines of batches are begun: %s", failure.message)
        self._full = full
        return not full

    async def _begin_step(self, store: Store) -> bool:
        held = self._put_off.names(self._clock())
        work = await store.database.write(lambda at: batch_work.claim(at, self._name, held))
        if work is None:
            return False
        self._spawn(self._steps, self._step(store, self._name, work))
        return True

    async def _step(self, store: Store, name: str, work: Work) -> None:
        if await do_step(store, name, work, self._settings, self._missing):
            self._put_off.good(work.batch)
            return
        # Before it may be claimed; longer each time: to find out that it still waits its whole input is read.
        self._put_off.refused(work.batch, self._clock(), AGAIN_S)
        await give_back(store, lambda at: batch_work.give_back(at, name, work.batch), after_s=0.0)

    async def _begin_chunk(self, store: Store, *, first: bool) -> bool:
        held = self._holds.names(self._clock())
        claimed = await store.database.write(lambda at: batch_chunks.claim(at, self._name, held, first=first))
        if claimed is None:
            return False
        chunk, known = claimed
        run = ChunkRun(store, self._means, chunk, known)
        task = asyncio.create_task(run.run(self._name, self._storage.woken))
        self._runs[task] = run
        task.add_done_callback(self._ended)
        return True

    def _spawn(self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._runs.pop(task, None)
        self._steps.discard(task)
        self._storage.woken.set()
        if not task.cancelled() and (failure := task.exception()) is not None:
            log.error("unexpected failure in a batch", exc_info=failure)

    async def _leave(self, limit_s: float) -> None:
        """Let what runs end, within the limit, and others have the rest at once."""
        self._means.gate.close()
        until = self._clock() + limit_s
        while (tasks := [*self._runs, *self._steps]) and (left := until - self._clock()) > 0:
            await asyncio.wait(tasks, timeout=min(left, self._beat_s))
            await self._still_here()
        await self._abandon()
        if self._name and self._storage.used:
            try:
                await self._resign(await self._storage.open())
            except InferloomError as failure:
                log.warning("batches: claims lapse by themselves: %s", failure.message)

    async def _still_here(self) -> None:
        """Beat, so that nobody else answers the lines that end here."""
        try:
            if self._name and self._clock() - self._beaten >= self._beat_s:
                await self._beat(await self._storage.open())
        except InferloomError as failure:
            log.warning("batches: others may take this one for dead: %s", failure.message)

    async def _abandon(self) -> None:
        tasks: list[Awaitable[None]] = []
        for task in [*self._runs, *self._steps]:
            task.cancel()
            tasks.append(task)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _resign(self, store: Store) -> None:
        name, self._name = self._name, ""
        await store.database.write(lambda at: runners.release(at, name))
