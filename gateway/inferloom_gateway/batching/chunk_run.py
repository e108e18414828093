"""Answers the lines of one chunk."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import orjson

from inferloom_gateway.access.identity import Identity
from inferloom_gateway.batching.claims import AGAIN_S, give_back
from inferloom_gateway.batching.gate import Gate, Lane
from inferloom_gateway.batching.holds import Holds
from inferloom_gateway.batching.input_file import lines_of
from inferloom_gateway.batching.line_call import Ask, Reply
from inferloom_gateway.batching.pace import Pace
from inferloom_gateway.batching.results import answered, request_id
from inferloom_gateway.batching.verdict import LATE, Verdict, again_s, judge
from inferloom_gateway.storage import batch_chunks, batch_lifecycle
from inferloom_gateway.storage.batch_chunks import Chunk
from inferloom_gateway.storage.database import Work
from inferloom_gateway.storage.failures import on_disk
from inferloom_gateway.storage.rows import Row
from inferloom_gateway.storage.store import Store
from inferloom_mesh.errors import InferloomError, server_error

log = logging.getLogger(__name__)

MOST_HELD = 64
"""Chunks of a batch of several models that are left alone one by one; with more, the batch is."""


@dataclass(frozen=True, slots=True)
class Means:
    """What lines are answered with."""

    gate: Gate
    """Lets them run."""
    pace: Pace
    """Hears how the mesh takes them."""
    holds: Holds
    """Knows which are left alone."""
    ask: Ask
    """Answers one."""
    now: Callable[[], float]
    """Seconds since 1970."""
    clock: Callable[[], float]
    """The clock of the pace and the holds."""


class ChunkRun:
    """The lines of a chunk that have not been answered, all at once as the gate lets them.

    Lines that are not to be asked for now are given back with the chunk, which is left alone for a while.

    Args:
        store: Where the batch is.
        means: What its lines are answered with.
        chunk: Which lines.
        known: The numbers of those that have been answered.
    """

    def __init__(self, store: Store, means: Means, chunk: Chunk, known: Collection[int]) -> None:
        self.chunk = chunk
        self.left = chunk.lines - len(known)
        """Lines that are under way, or will be."""
        self._store = store
        self._means = means
        self._known = known
        self._unanswered = self.left
        self._lane: Lane = ("", chunk.batch)
        self._key = ""
        self._held = chunk_name(chunk)
        """What is left alone while a model is away."""
        self._stopped = False

    async def run(self, runner: str, woken: asyncio.Event) -> None:
        """Answer all; ``woken`` is set whenever there is room for more lines."""
        wait = 0.0
        try:
            await self._run(woken)
        except InferloomError as failure:
            log.warning("lines of %s are given back: %s", self.chunk.batch, failure.message)
            wait = AGAIN_S
        except Exception:  # the claim must not outlive it
            log.exception("lines of %s are given back", self.chunk.batch)
            wait = AGAIN_S
        self.left = 0
        if self._unanswered:
            await give_back(
                self._store, lambda at: batch_chunks.give_back(at, runner, self.chunk), after_s=wait
            )

    async def _run(self, woken: asyncio.Event) -> None:
        row = await self._store.batch(self.chunk.batch)
        if row is None:  # whoever ends the batch does not ask for its lines
            self._unanswered = 0
            return
        identity = Identity(row.tenant, orjson.loads(row.extra)["key_id"])
        self._lane, self._key = (row.tenant, row.id), f"key {row.tenant} {identity.key_id}"
        self._held = self._what_is_held(row)
        if not self._key_is_held():
            lines = await on_disk(self._read)
            async with asyncio.TaskGroup() as tasks:
                for number, asked in lines:
                    tasks.create_task(self._line(number, asked, identity, woken))
        now, holds = self._means.clock(), self._means.holds
        if self._unanswered and holds.held(self._key, now):
            holds.hold(self.chunk.batch, holds.until(self._key, now))

    def _what_is_held(self, row: Row) -> str:
        """The batch if all of it asks for one model, which is away for all of it then."""
        if orjson.loads(row.document).get("model") is not None:
            return row.id
        held = self._means.holds.names(self._means.clock())
        others = sum(name.startswith(f"{row.id}:") for name in held)
        return row.id if others >= MOST_HELD else chunk_name(self.chunk)

    def _key_is_held(self) -> bool:
        return self._means.holds.held(self._key, self._means.clock())

    def _read(self) -> list[tuple[int, Any]]:
        with self._store.contents.open(self.chunk.batch) as file:
            lines = lines_of(file, self.chunk)
            return [(number, asked) for number, asked in lines if number not in self._known]

    async def _line(self, number: int, asked: Any, identity: Identity, woken: asyncio.Event) -> None:
        attempts = Counter[bool]()  # in vain, by whether it was late
        try:
            while True:
                async with self._means.gate.turn(self._lane):
                    if self._means.gate.closed or self._stopped or self._key_is_held():
                        return
                    reply, verdict = await self._asked(number, asked, identity, attempts)
                    self._heed(reply, verdict)
                    if verdict is Verdict.DONE:
                        await self._keep(number, asked["custom_id"], reply)
                    elif verdict is Verdict.BARRED:
                        await self._bar(reply)
                if verdict is Verdict.AGAIN:
                    attempts[reply.code == LATE] += 1
                    await self._means.gate.pause(again_s(reply.retry_after, attempts.total()))
                elif verdict is not Verdict.LATER:
                    return
        finally:
            self.left -= 1
            woken.set()

    async def _asked(
        self, number: int, asked: Any, identity: Identity, attempts: Counter[bool]
    ) -> tuple[Reply, Verdict]:
        name = request_id(self.chunk.batch, number)
        try:
            reply = await self._means.ask(asked["url"], orjson.dumps(asked["body"]), identity, name)
            before = attempts[reply.code == LATE]
            return reply, judge(reply.status, reply.code, reply.retry_after, before, tried=reply.tried)
        except Exception:  # a bug fails its own line and no other
            log.exception("unexpected failure in %s", name)
            reply = Reply.failed(server_error())
            return reply, judge(reply.status, reply.code, None, attempts[False])

    def _heed(self, reply: Reply, verdict: Verdict) -> None:
        """Let the other lines know how this one was taken."""
        means, now = self._means, self._means.clock()
        if verdict is Verdict.DONE:
            means.pace.good()
            for name in (self._key, self._held):
                means.holds.good(name)
        elif verdict is Verdict.LATER:
            means.pace.refused(now, reply.retry_after)
        elif verdict is Verdict.LIMITED:
            means.holds.refused(self._key, now, reply.retry_after)
        elif verdict is Verdict.AWAY:
            means.holds.refused(self._held, now, reply.retry_after)
            self._stopped = self._held == self.chunk.batch

    async def _keep(self, number: int, custom_id: str, reply: Reply) -> None:
        """Store an answer, however long the store takes; the line keeps its turn meanwhile."""
        batch, bound = self.chunk.batch, self._store.limits.total_bytes
        try:
            result = answered(batch, number, custom_id, reply)
        except Exception:  # a body that is no JSON, or a bug: it fails its own line and no other
            log.exception("unexpected answer to %s", request_id(batch, number))
            result = answered(batch, number, custom_id, Reply.failed(server_error()))
        now = int(self._means.now())
        await self._written(lambda at: batch_lifecycle.keep(at, self.chunk, result, now, bound))
        self._unanswered -= 1

    async def _bar(self, reply: Reply) -> None:
        """End the batch: none of its lines will be let in any more."""
        self._stopped = True
        error, now = orjson.loads(reply.raw)["error"], int(self._means.now())
        await self._written(
            lambda at: batch_lifecycle.bar(at, self.chunk.batch, now, error["code"], error["message"])
        )

    async def _written(self, work: Work[Any]) -> None:
        while True:
            try:
                await self._store.database.write(work)
            except InferloomError as failure:
                log.warning("an answer of a batch waits to be stored: %s", failure.message)
                await asyncio.sleep(AGAIN_S)
            else:
                return


def chunk_name(chunk: Chunk) -> str:
    """What a chunk is called among what is left alone."""
    return f"{chunk.batch}:{chunk.number}"
