"""Answers the lines of one chunk."""

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any

import orjson

from inferloom_gateway.access.identity import Identity
from inferloom_gateway.batching.gate import Gate
from inferloom_gateway.batching.input_file import lines_of
from inferloom_gateway.batching.line_call import Ask, Reply
from inferloom_gateway.batching.pace import Pace
from inferloom_gateway.batching.results import answered, request_id
from inferloom_gateway.batching.verdict import Verdict, judge
from inferloom_gateway.storage import batch_rows
from inferloom_gateway.storage.batch_rows import Chunk
from inferloom_gateway.storage.failures import on_disk
from inferloom_gateway.storage.store import Store
from inferloom_mesh.errors import InferloomError, server_error

log = logging.getLogger(__name__)

STORE_AGAIN_S = 5.0
"""How long an answer waits for a store that does not take it."""

_FAULT_S = 1.0


class ChunkRun:
    """The lines of a chunk that have not been answered, all at once as the gate lets them.

    Args:
        store: Where the batch is.
        gate: Lets lines run.
        pace: Hears how they are taken.
        ask: Answers one.
        chunk: Which lines.
        known: The numbers of those that have been answered.
        now: Seconds since 1970.
        clock: The pace's clock.
    """

    def __init__(
        self,
        store: Store,
        gate: Gate,
        pace: Pace,
        ask: Ask,
        chunk: Chunk,
        known: Collection[int],
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self.chunk = chunk
        self.left = chunk.lines - len(known)
        """Lines that have no answer yet."""
        self._store = store
        self._gate = gate
        self._pace = pace
        self._ask = ask
        self._known = known
        self._now = now
        self._clock = clock

    async def run(self, runner: str, woken: asyncio.Event) -> None:
        """Answer all; ``woken`` is set whenever there is room for more lines."""
        try:
            await self._run(woken)
        except InferloomError as failure:
            log.warning("lines of %s are given back: %s", self.chunk.batch, failure.message)
            await asyncio.sleep(STORE_AGAIN_S)
            await self._store.database.write(lambda at: batch_rows.give_back_chunk(at, runner, self.chunk))

    async def _run(self, woken: asyncio.Event) -> None:
        row = await self._store.batch(self.chunk.batch)
        if row is None:
            return
        identity = Identity(row.tenant, orjson.loads(row.extra)["key_id"])
        lines = await on_disk(self._read)
        async with asyncio.TaskGroup() as tasks:
            for number, asked in lines:
                tasks.create_task(self._line(number, asked, identity, woken))

    def _read(self) -> list[tuple[int, Any]]:
        with self._store.contents.open(self.chunk.batch) as file:
            lines = lines_of(file, self.chunk)
            return [(number, asked) for number, asked in lines if number not in self._known]

    async def _line(self, number: int, asked: Any, identity: Identity, woken: asyncio.Event) -> None:
        batch, attempts = self.chunk.batch, 0
        name = request_id(batch, number)
        body = orjson.dumps(asked["body"])
        while True:
            async with self._gate.turn():
                try:
                    reply = await self._ask(asked["url"], body, identity, name)
                except Exception:  # a bug fails its own line and no other
                    log.exception("unexpected failure in %s", name)
                    reply = Reply.failed(server_error())
                verdict = judge(reply.status, reply.code, attempts)
                if verdict is Verdict.LATER:
                    self._pace.refused(self._clock(), reply.retry_after)
                elif verdict is Verdict.DONE:
                    self._pace.good()
                    await self._keep(number, asked["custom_id"], reply)
                    break
            if verdict is Verdict.AGAIN:
                attempts += 1
                await asyncio.sleep(_FAULT_S * attempts)
        self.left -= 1
        woken.set()

    async def _keep(self, number: int, custom_id: str, reply: Reply) -> None:
        """Store an answer, however long the store takes; the line keeps its turn meanwhile."""
        result = answered(self.chunk.batch, number, custom_id, reply)
        while True:
            try:
                await self._store.database.write(
                    lambda at: batch_rows.put_result(at, self.chunk, result, int(self._now()))
                )
            except InferloomError as failure:
                log.warning("an answer of a batch waits to be stored: %s", failure.message)
                await asyncio.sleep(STORE_AGAIN_S)
            else:
                return
