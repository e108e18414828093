"""The answer to one request that a server computes."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.durations import duration
from inferloom_mesh.errors import InferloomError, Reason, server_error
from inferloom_worker.engines.sidecar.client import Client, Pieces
from inferloom_worker.engines.sidecar.failures import lost
from inferloom_worker.engines.sidecar.places import Place
from inferloom_worker.engines.sidecar.request import ServerRequest
from inferloom_worker.engines.sidecar.sse import EventReader, MalformedError
from inferloom_worker.hosting.sidecar.chunks import DONE, Chunks
from inferloom_worker.hosting.sidecar.unread import Unread
from inferloom_worker.output.completion import Item, PlainDelta, response_of

MOST_HELD_BYTES = 2**18
"""What is read ahead of a caller; then the server is read no further."""

EARLY_BEATS = 3
"""Beats after which Started is told though the server has said nothing: no Heartbeat may come before it, and
gateways take 6 s of silence for a stall."""

LAST_WORDS_S = 1.0
"""How long a server may take to end a response whose answer is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an answer is to."""

    request: ServerRequest
    started: pb.Started
    echo: Sequence[pb.GenerateResponse] = ()
    """The Deltas that repeat the prompt."""
    deadline: float | None = None


class ServerAnswer:
    """An :class:`~inferloom_worker.hosting.answer.Answer` that is read from a server.

    One task reads it, and closes the connection when it is aborted, so that the server stops too.

    Args:
        client: Speaks to the server.
        asked: What it is asked.
        chunks: Reads its chunks.
        place: Its turn.
        judged: Says what it ends with when it failed.
        on_end: Called with the answer when it is over, however it ends.
    """

    def __init__(
        self,
        client: Client,
        asked: Asked,
        chunks: Chunks,
        place: Place,
        judged: Callable[[InferloomError], Awaitable[InferloomError]],
        on_end: Callable[["ServerAnswer"], object],
    ) -> None:
        self._client = client
        self._asked = asked
        self._chunks = chunks
        self._place = place
        self._judged = judged
        self._on_end = on_end
        self._unread = Unread()
        self._failure: InferloomError | None = None
        self._complete = self._over = self._started = False
        self._fresh = False
        """Whether something came since the last beat."""
        self._beats = 0
        """Beats without Started."""
        self._news: Callable[[], object] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._submitted = self._sent = self._heard = time.monotonic()
        self._first: float | None = None
        self.events_read = 0
        """Pieces of it that have come."""
        self._task = self._loop.create_task(self._run(), name="an answer of a server")
        self._alarm = None
        if asked.deadline is not None:
            self._alarm = self._loop.call_later(max(0.0, asked.deadline - self._submitted), self._late)

    @property
    def silent_s(self) -> float:
        """For how long it has had no news, in seconds; 0 where none can come: before its turn, and while
        nobody takes what has come."""
        held_up = self._room is not None and not self._room.done()
        return time.monotonic() - self._heard if self._place.here and not held_up else 0.0

    @property
    def tokens(self) -> int:
        """Tokens that it has, as far as is known."""
        return self._chunks.tokens

    async def events(self) -> AsyncIterator[Sequence[pb.GenerateResponse]]:
        while not self._over:
            if items := self.read():
                yield [response_of(item) if isinstance(item, PlainDelta) else item for item in items]
            elif not self._over:
                self._wake = self._loop.create_future()
                await self._wake

    def follow(self, news: Callable[[], object]) -> "ServerAnswer":
        self._news = news
        return self

    def read(self) -> Sequence[Item]:
        if not self._unread and self._failure is not None and not self._over:
            self._over = True
            raise self._failure.kept()
        found = self._unread.take()
        if self._room is not None and self._unread.bytes < MOST_HELD_BYTES and not self._room.done():
            self._room.set_result(None)
        if not self._unread and self._complete:
            self._over = True
        return found

    @property
    def waiting(self) -> bool:
        return not self._over and (bool(self._unread) or self._complete or self._failure is not None)

    @property
    def over(self) -> bool:
        return self._over

    def abort(self) -> None:
        self._unread.clear()
        self._over = True
        self._stop()
        self._tell()

    def beat(self) -> None:
        """Say that it lives, where nothing else was said for a while; called about once a second."""
        if not (self._fresh or self._unread or self._complete or self._failure or self._over):
            self._beats += 1
            if self._started:
                queued = self._chunks.begun or not self._place.here
                phase = pb.HEARTBEAT_PHASE_QUEUED if queued else pb.HEARTBEAT_PHASE_PREFILL
                self._put([pb.GenerateResponse(heartbeat=pb.Heartbeat(phase=phase))])
            elif self._beats >= EARLY_BEATS:
                self._start()
        self._fresh = False

    def fail(self, error: InferloomError) -> None:
        """End it with an error, after what has come of it."""
        if not (self._complete or self._over):
            self._failure = self._failure or error
            self._stop()
            self._tell()

    async def _run(self) -> None:
        try:
            await self._place.come()
            self._sent = self._heard = time.monotonic()
            await self._exchange()
        except InferloomError as error:
            self._failure = (await self._judged(self._client.without_key(error))).kept()
        except MalformedError as failure:
            self._failure = await self._judged(lost(f"it answered {failure}"))
        except asyncio.InvalidStateError:
            return  # it left the queue
        except Exception:  # a bug: its caller must hear of it, or waits for ever
            self._failure = server_error()
            raise
        finally:
            self._leave()
            self._tell()

    async def _exchange(self) -> None:
        request = self._asked.request
        async with self._client.stream(f"{self._client.address.api}{request.path}", request.body) as pieces:
            self._start()
            self._put(self._asked.echo)
            await self._read_on(pieces)
            self._put([*self._chunks.end(), self._completed()])
            self._complete = True
            self._tell()
            # What is read to its end leaves a connection that can be used again.
            with suppress(InferloomError, TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await pieces.read()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._put([pb.GenerateResponse(started=self._asked.started)])

    async def _read_on(self, pieces: Pieces) -> None:
        """Read to the mark that ends a stream, or to its end where there is none."""
        chunks, reader = self._chunks, EventReader()
        while piece := await pieces.read():
            self.events_read += 1
            self._heard = time.monotonic()
            items: list[Item] = []
            for data in reader.feed(piece):
                if data == DONE:
                    self._put(items)
                    return
                items += chunks.read(data)
            if chunks.begun and self._first is None:
                self._first = time.monotonic()
            self._put(items)
            while self._unread.bytes >= MOST_HELD_BYTES:
                self._room = self._loop.create_future()
                await self._room
                self._heard = time.monotonic()

    def _completed(self) -> pb.GenerateResponse:
        now = time.monotonic()
        first = now if self._first is None else self._first
        timings = pb.Timings(
            queue=duration(self._sent - self._submitted),
            prefill=duration(max(0.0, first - self._sent)),
            decode=duration(max(0.0, now - first)),
        )
        return pb.GenerateResponse(completed=pb.Completed(usage=self._chunks.usage, timings=timings))

    def _late(self) -> None:
        """Its time is over: what has come is kept."""
        if self._complete or self._over or self._failure is not None:
            return
        if not self._chunks.begun:
            self.fail(InferloomError(Reason.TIMEOUT, "The deadline passed before the first token."))
            return
        rest = list(self._chunks.cut(pb.FINISH_REASON_DEADLINE))
        self._stop()
        self._complete = True
        self._put([*rest, *self._chunks.ends(), self._completed()])

    def _put(self, items: Sequence[Item]) -> None:
        if self._over or not items:
            return
        self._fresh = True
        self._unread.put(items)
        self._tell()

    def _tell(self) -> None:
        if self._news is not None:
            self._news()
        elif self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _stop(self) -> None:
        if not self._complete:
            self._task.cancel()
        self._leave()

    def _leave(self) -> None:
        """Give back what it holds."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._place.leave()
        self._on_end(self)
