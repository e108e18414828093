"""Where resumable streams are begun, followed and gone on with."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from inferloom.v1.inference_pb2 import GenerateRequest
from inferloom_gateway.calls.bounded_gather import gather_bounded
from inferloom_gateway.calls.call_group import CallGroup
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.storage.streams import KeptStream
from inferloom_gateway.streams.asking import HEADER
from inferloom_gateway.streams.book import Book, unknown
from inferloom_gateway.streams.follower import Follower, Reader
from inferloom_gateway.streams.generation import Generation, read
from inferloom_gateway.streams.run import Run, over
from inferloom_mesh.errors import InferloomError, Reason, unsupported
from inferloom_mesh.request_id import is_request_id

_LATER = frozenset({Reason.NO_WORKER, Reason.SERVER_OVERLOADED})
MOST_FOLLOWERS = 1024
"""Connections that may follow streams in one process."""

Restore = Callable[[KeptStream], Sequence[GenerateRequest]]
"""Makes of a kept stream what was asked of workers, for each of its generations."""


class StreamDesk:
    """The resumable streams that pass through this process.

    Args:
        gateway: Makes their generations.
        restore: How the requests of each endpoint are kept.
    """

    def __init__(self, gateway: Gateway, restore: Mapping[str, Restore]) -> None:
        self.book = Book(gateway.storage, secrets.token_hex(8))
        self._gateway = gateway
        self._restore = restore
        self._runs: dict[tuple[str, str], Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._followers: Counter[tuple[str, str]] = Counter()

    def check(self) -> None:
        """Raise InferloomError if nothing can be kept here."""
        if not self._gateway.storage.on:
            raise unsupported(HEADER, f"{HEADER} is not supported: this gateway keeps nothing (--no-store).")

    async def begin(self, kept: KeptStream, calls: CallGroup, generations: Sequence[Generation]) -> None:
        """Make a stream whose generations were accepted; the call group is the stream's from then on.

        Raises:
            InferloomError: There is one of this name, or there are as many as may be.
        """
        mine = await self.book.begin(kept)
        self._start(Run(self.book, mine, calls, generations, 0, self._is_read), mine)

    async def find(self, reader: Reader, name: str) -> KeptStream:
        """The stream that its reader has by this name.

        Raises:
            InferloomError: He has none.
        """
        self.check()
        if not is_request_id(name):  # it becomes a header
            raise unknown(name)
        return (await self.book.news(reader.identity.tenant, name, 2**31)).kept

    def follow(self, reader: Reader, kept: KeptStream, first: int) -> Follower:
        """Read its events from the ``first`` on, to the end.

        Raises:
            InferloomError: As many follow as may.
        """
        if self._followers.total() >= MOST_FOLLOWERS:
            message = "As many connections follow streams as may."
            raise InferloomError(Reason.RATE_LIMIT_EXCEEDED, message, retry_after=5.0)
        key = kept.tenant, kept.id
        self._followers[key] += 1

        def leave() -> None:
            self._followers[key] -= 1
            if not self._followers[key]:
                del self._followers[key]

        return Follower(self, reader, kept, first, leave)

    def run_of(self, kept: KeptStream) -> Run | None:
        """What makes the stream, if it is made here."""
        return self._runs.get((kept.tenant, kept.id))

    async def take_over(self, reader: Reader, kept: KeptStream) -> None:
        """Go on with a stream whose process is dead; where nobody can just now, do nothing.

        Raises:
            InferloomError: Nobody will.
        """
        restore = self._restore.get(kept.endpoint)
        if restore is None or kept.claimed_until >= self._gateway.storage.now():
            return
        mine = await self.book.take_over(kept)
        if mine is None:
            return
        generations = [Generation(place, asked) for place, asked in enumerate(restore(mine))]
        known = 0
        while found := (await self.book.news(mine.tenant, mine.id, known)).events:
            known += len(found)
            for data in found:
                place, event = read(data, len(generations))
                generations[place].know(event)
        try:
            rests = [generation.rest() for generation in generations]
        except InferloomError as failure:
            await self.book.tell(mine, known, [], over(failure), read=True)
            return
        model = next((rest.model for rest in rests if rest is not None), None)
        if model is None:
            await self.book.tell(mine, known, [], over(None), read=True)
            return
        admission = self._gateway.admission(reader.identity, model)
        calls = self._gateway.dispatcher.group(reader.context, "generate", model, admission)
        try:
            calls.pin.accept(mine.compute_hash)
            pairs = zip(generations, rests, strict=True)
            await gather_bounded([_begin(calls, each, rest) for each, rest in pairs if rest is not None])
        except InferloomError as failure:
            calls.close(failure)
            await self.book.release(mine)
            if failure.reason in _LATER:
                return
            raise
        except BaseException as failure:  # also a caller who left: the claim must not outlive it
            calls.close(failure)
            await asyncio.shield(self.book.release(mine))
            raise
        self._start(Run(self.book, mine, calls, generations, known, self._is_read), mine)

    async def drain(self, limit_s: float) -> None:
        """Let those that are made here finish; then let other processes go on with the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=limit_s)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_read(self, kept: KeptStream) -> bool:
        return (kept.tenant, kept.id) in self._followers

    def _start(self, run: Run, kept: KeptStream) -> None:
        key = kept.tenant, kept.id
        self._runs[key] = run
        task = asyncio.create_task(run.make(), name=f"stream {kept.id}")
        self._tasks.add(task)

        def done(task: "asyncio.Task[None]") -> None:
            self._tasks.discard(task)
            self._runs.pop(key, None)

        task.add_done_callback(done)


async def _begin(calls: CallGroup, generation: Generation, rest: GenerateRequest) -> None:
    generation.begin(await calls.generate(rest, generation.asked))
