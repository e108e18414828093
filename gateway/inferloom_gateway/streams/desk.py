"""Where resumable streams are begun, followed and gone on with."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inferloom.v1.inference_pb2 import GenerateRequest
from inferloom_gateway.calls.call_group import CallGroup
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.storage.streams import KeptStream
from inferloom_gateway.streams.asking import HEADER
from inferloom_gateway.streams.book import Book, unknown
from inferloom_gateway.streams.claims import Claims
from inferloom_gateway.streams.follower import Follower, Reader
from inferloom_gateway.streams.generation import Generation
from inferloom_gateway.streams.run import Run
from inferloom_gateway.streams.takeover import resumed
from inferloom_mesh.errors import InferloomError, Reason, unsupported
from inferloom_mesh.request_id import is_request_id

_LATER = frozenset({Reason.NO_WORKER, Reason.SERVER_OVERLOADED})
MOST_FOLLOWERS = 1024
"""Connections that may follow streams in one process."""

Restore = Callable[[KeptStream], Sequence[GenerateRequest]]
"""Makes of a kept stream what was asked of workers, for each of its generations."""


@dataclass(frozen=True, slots=True)
class New:
    """A stream that is to be begun."""

    kept: KeptStream
    calls: CallGroup
    """Its own from when its generations are accepted."""
    start: Callable[[], Awaitable[Sequence[Generation]]]
    """Has workers accept them."""


class StreamDesk:
    """The resumable streams that pass through this process.

    Args:
        gateway: Makes their generations.
        restore: How the requests of each endpoint are kept.
    """

    def __init__(self, gateway: Gateway, restore: Mapping[str, Restore]) -> None:
        self.book = Book(gateway.storage, secrets.token_hex(8))
        self._gateway = gateway
        self._claims = Claims(self.book)
        self._restore = restore
        self._runs: dict[tuple[str, str], Run] = {}
        self._taking: set[tuple[str, str]] = set()
        """Those that are being gone on with, and are not made yet."""
        self._tasks: set[asyncio.Task[Any]] = set()
        """Whatever is waited for before this process ends: what begins, is taken over, or is made."""
        self.leaves = False
        """Whether this process stops, and goes on with no stream any more."""
        self._left = False
        """Whether it begins none any more either."""
        self._followers: Counter[tuple[str, str]] = Counter()

    def check(self) -> None:
        """Raise InferloomError if nothing can be kept here."""
        if not self._gateway.storage.on:
            raise unsupported(HEADER, f"{HEADER} is not supported: this gateway keeps nothing (--no-store).")

    async def attach(self, reader: Reader, name: str, first: int, new: New | None = None) -> Follower:
        """Read a stream's events from the ``first`` on, to the end.

        The reader has his place before anything is looked for or begun, so that no stream is made for one who
        cannot read it. A ``new`` one is kept, and then workers accept its generations.

        Raises:
            InferloomError: As many follow as may; he has no stream of this name, or one that is to be new;
                there are as many as may be; no worker accepts it; or this process stops before one does.
        """
        self.check()
        if not is_request_id(name):  # it becomes a header
            raise unknown(name)
        tenant = reader.identity.tenant
        leave = self._enter(tenant, name)
        try:
            if new is None:
                kept = (await self.book.news(tenant, name, 2**31)).kept
            else:
                kept = await self._begun(new)
        except BaseException:
            leave()
            raise
        return Follower(self, reader, kept, first, leave)

    def run_of(self, kept: KeptStream) -> Run | None:
        """What makes the stream, if it is made here."""
        return self._runs.get((kept.tenant, kept.id))

    def take_over(self, reader: Reader, kept: KeptStream) -> "asyncio.Task[None] | None":
        """Begin to go on with a stream whose process is dead; None: it is not, or somebody does here.

        Workers that are away are waited for, so it can take a while. Cancelling the task leaves the stream to
        others. Where nobody can go on with it just now, it does nothing; it raises InferloomError where
        nobody will.
        """
        key, restore = (kept.tenant, kept.id), self._restore.get(kept.endpoint)
        if restore is None or not self.abandoned(kept) or self.leaves:
            return None
        if key in self._runs or key in self._taking:
            return None
        self._taking.add(key)
        task = asyncio.create_task(self._take_over(reader, kept, restore), name=f"takeover {kept.id}")
        self._tasks.add(task)

        def done(task: "asyncio.Task[None]") -> None:
            self._tasks.discard(task)
            self._taking.discard(key)
            if not task.cancelled():
                task.exception()  # its reader may have left

        task.add_done_callback(done)
        return task

    async def _take_over(self, reader: Reader, kept: KeptStream, restore: Restore) -> None:
        mine = await self._claims.take_over(kept)
        if mine is None:
            return
        try:
            async with self.book.held(mine):
                found = await resumed(self._gateway, self.book, reader, mine, restore(mine))
        except BaseException as failure:  # the claim must not outlive it
            await self._claims.release(mine)
            if isinstance(failure, InferloomError) and failure.reason in _LATER:
                return
            raise
        if found is not None:
            self._start(mine, found.calls, found.generations, found.known)

    def abandoned(self, kept: KeptStream) -> bool:
        """Whether the process that made it is dead, or has let it go."""
        return kept.claimed_until < self._gateway.storage.now()

    async def drain(self, limit_s: float) -> None:
        """Let those that are made here finish; then let other processes go on with the rest."""
        self.leaves = True
        clock = asyncio.get_running_loop().time
        until = clock() + limit_s
        while self._tasks and clock() < until:  # one may begin meanwhile
            await asyncio.wait(self._tasks, timeout=until - clock())
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._left = True
        await self._claims.settled()

    def _enter(self, tenant: str, name: str) -> Callable[[], None]:
        """Give a follower his place; what gives it back."""
        if self._followers.total() >= MOST_FOLLOWERS:
            message = "As many connections follow streams as may."
            raise InferloomError(Reason.RATE_LIMIT_EXCEEDED, message, retry_after=5.0)
        key = tenant, name
        self._followers[key] += 1

        def leave() -> None:
            self._followers[key] -= 1
            if not self._followers[key]:
                del self._followers[key]

        return leave

    async def _begun(self, new: New) -> KeptStream:
        """Begin a stream as a task of its own, so that who stops waits for it, as for what it makes."""
        if self._left:
            raise _stops()
        beginning = asyncio.create_task(self._begin(new), name=f"begins {new.kept.id}")
        self._tasks.add(beginning)
        beginning.add_done_callback(self._tasks.discard)
        try:
            return await beginning
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self.leaves or task is None or task.cancelling():
                raise
            raise _stops() from None

    async def _begin(self, new: New) -> KeptStream:
        mine = await self._claims.begin(new.kept)
        try:
            async with self.book.held(mine):
                generations = await new.start()
        except BaseException:
            await self._claims.forget(mine)
            raise
        self._start(mine, new.calls, generations, 0)
        return mine

    def _is_read(self, kept: KeptStream) -> bool:
        return (kept.tenant, kept.id) in self._followers

    def _start(
        self, mine: KeptStream, calls: CallGroup, generations: Sequence[Generation], known: int
    ) -> None:
        kept, key = replace(mine, compute_hash=calls.pin.hash), (mine.tenant, mine.id)
        self._runs[key] = run = Run(self.book, kept, calls, generations, known, self._is_read)
        task = asyncio.create_task(run.make(), name=f"stream {kept.id}")
        self._tasks.add(task)

        def done(task: "asyncio.Task[None]") -> None:
            self._tasks.discard(task)
            self._runs.pop(key, None)

        task.add_done_callback(done)


def _stops() -> InferloomError:
    message = "This gateway stops; another one takes the request."
    return InferloomError(Reason.NO_WORKER, message, retry_after=1.0)
