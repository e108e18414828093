"""Where resumable streams are asked for and followed."""

import asyncio
import math
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import orjson

from inferloom.v1.inference_pb2 import GenerateRequest, GenerateResponse, Usage
from inferloom_gateway.access.identity import Identity
from inferloom_gateway.calls.call_group import CallGroup, GenerateStream
from inferloom_gateway.calls.generation_progress import GenerationProgress
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http.errors import render
from inferloom_gateway.http.event_bytes import encode
from inferloom_gateway.http.schema.base import Body
from inferloom_gateway.http.schema.chat import ChatCompletionRequest
from inferloom_gateway.http.schema.completions import CompletionRequest
from inferloom_gateway.http.sse import KEEP_ALIVE, after, framed
from inferloom_gateway.http.streams.book import Book
from inferloom_gateway.http.streams.run import Run
from inferloom_gateway.http.translate import chat, completions
from inferloom_gateway.http.translate.plan import Plan
from inferloom_gateway.storage.streams import KeptStream
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason, invalid, unsupported

HEADER = "x-inferloom-resumable"
STREAM_HEADER = "x-inferloom-stream"
LONGEST_S = 3600.0

_POLL_S = 0.1
_PATIENCE_S = 0.5
_WANTED_S = 1.0
_LATER = frozenset({Reason.NO_WORKER, Reason.SERVER_OVERLOADED})
MOST_FOLLOWERS = 1024
"""Connections that may follow streams in one process."""

PLANS: dict[str, tuple[type[Body], Callable[[Any, str, int], Plan]]] = {
    "chat": (ChatCompletionRequest, chat.plan),
    "completions": (CompletionRequest, completions.plan),
}


def resumable_s(value: str) -> float:
    """The seconds that the header asks for.

    Raises:
        InferloomError: They are none.
    """
    try:
        seconds = float(value) if value.isascii() and len(value) <= 20 else math.nan
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= LONGEST_S:
        raise invalid(HEADER, f"The header {HEADER} must be a number of seconds, at most {LONGEST_S:g}.")
    return seconds


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads a stream: who he is, and what an error of his is called."""

    identity: Identity
    context: CallContext


class StreamDesk:
    """The resumable streams that pass through this process."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._book = Book(gateway.storage, secrets.token_hex(8))
        self._runs: dict[tuple[str, str], Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._followers = 0

    def check(self) -> None:
        """Raise InferloomError if nothing can be kept here."""
        if not self._gateway.storage.on:
            raise unsupported(HEADER, f"{HEADER} is not supported: this gateway keeps nothing (--no-store).")

    async def begin(self, kept: KeptStream, plan: Plan, calls: CallGroup, stream: GenerateStream) -> None:
        """Make a stream whose generation was accepted.

        Raises:
            InferloomError: There is one of this name, or there are as many as may be.
        """
        mine = await self._book.begin(kept)
        self._start(Run(self._book, mine, calls, stream, plan.parts[0].request, []), mine)

    async def known(self, reader: Reader, name: str) -> None:
        """Raise InferloomError if its reader has no such stream."""
        await self._book.news(reader.identity.tenant, name, 2**31)

    def follow(self, reader: Reader, name: str, last: int, stack: ExitStack) -> AsyncGenerator[bytes, None]:
        """The events behind the ``last`` that its reader has, to the end.

        Raises:
            InferloomError: As many follow as may; and, from the generator, there is no such stream.
        """
        stack.enter_context(self._counted())
        return self._frames(reader, name, last)

    async def drain(self, limit_s: float) -> None:
        """Let those that are made here finish; then let other processes go on with the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=limit_s)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._followers >= MOST_FOLLOWERS:
            message = "As many connections follow streams as may."
            raise InferloomError(Reason.RATE_LIMIT_EXCEEDED, message, retry_after=5.0)
        self._followers += 1
        try:
            yield
        finally:
            self._followers -= 1

    @contextmanager
    def _read(self, tenant: str, name: str) -> Iterator[Run | None]:
        run = self._runs.get((tenant, name))
        if run is not None:
            run.followers += 1
        try:
            yield run
        finally:
            if run is not None:
                run.followers -= 1

    async def _frames(self, reader: Reader, name: str, last: int) -> AsyncGenerator[bytes, None]:
        tenant, place, number, usage = reader.identity.tenant, 0, 0, Usage()
        encoder = None
        told = -math.inf
        clock = asyncio.get_running_loop().time
        while True:
            with self._read(tenant, name) as run:
                changed = None if run is None else run.changed
                news = await self._book.news(tenant, name, place)
                if encoder is None:
                    encoder = planned(news.kept).parts[0].encoder
                pieces = []
                for data in news.events:
                    event = GenerateResponse.FromString(data)
                    if event.HasField("completed"):
                        usage = event.completed.usage
                    else:
                        pieces.append(encode(event, encoder))
                place += len(news.events)
                frames, number = after(b"".join(pieces), number, last)
                if frames:
                    yield frames
                if news.events:
                    continue
                if news.kept.over is not None:
                    if news.kept.over:
                        reason, _, message = news.kept.over.partition(" ")
                        raise InferloomError(Reason(reason), message)
                    yield after(encoder.end(usage), number, last)[0]
                    return
                if run is None and clock() - told > _WANTED_S:
                    told = clock()
                    await self._book.want(news.kept)
                    with suppress(_NotNowError):
                        await self._take_over(reader, news.kept)
                if changed is None:
                    await asyncio.sleep(_POLL_S)
                else:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), _PATIENCE_S)
            yield KEEP_ALIVE

    async def _take_over(self, reader: Reader, kept: KeptStream) -> None:
        """Go on with a stream whose process is dead."""
        if kept.claimed_until >= self._gateway.storage.now():
            return
        mine = await self._book.take_over(kept)
        if mine is None:
            return
        known: list[GenerateResponse] = []
        while found := (await self._book.news(mine.tenant, mine.id, len(known))).events:
            known += map(GenerateResponse.FromString, found)
        request = planned(mine).parts[0].request
        rest = going_on(request, known)
        if rest is None:
            await self._book.tell(mine, len(known), [], "", read=True)
            return
        admission = self._gateway.admission(reader.identity, request.model)
        calls = self._gateway.dispatcher.group(reader.context, "generate", request.model, admission)
        try:
            calls.pin.accept(mine.compute_hash)
            stream = await calls.generate(rest)
        except InferloomError as failure:
            calls.close(failure)
            await self._book.release(mine)
            if failure.reason in _LATER:
                raise _NotNowError from failure
            raise
        except BaseException as failure:
            calls.close(failure)
            await asyncio.shield(self._book.release(mine))
            raise
        self._start(Run(self._book, mine, calls, stream, request, known), mine)

    def _start(self, run: Run, kept: KeptStream) -> None:
        key = kept.tenant, kept.id
        self._runs[key] = run
        task = asyncio.create_task(run.make(), name=f"stream {kept.id}")
        self._tasks.add(task)

        def done(task: "asyncio.Task[None]") -> None:
            self._tasks.discard(task)
            self._runs.pop(key, None)

        task.add_done_callback(done)


def failed(error: InferloomError) -> bytes:
    """The last event of a stream that cannot go on."""
    return framed(render(error))


class _NotNowError(Exception):
    """Nobody can go on with a stream just now."""


def planned(kept: KeptStream) -> Plan:
    """What a kept request becomes, anew."""
    schema, plan = PLANS[kept.endpoint]
    return plan(schema.model_validate(orjson.loads(kept.body)), kept.id, kept.created)


def going_on(request: GenerateRequest, known: list[GenerateResponse]) -> GenerateRequest | None:
    """The request behind the events that there are; None: they are all."""
    progress = GenerationProgress(request)
    for event in known:
        copy = GenerateResponse()
        copy.CopyFrom(event)
        progress.take(copy)
    return progress.rest()
