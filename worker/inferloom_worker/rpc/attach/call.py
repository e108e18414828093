"""One call of an attachment, from its start to its end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, Protocol

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import link_pb2
from inferloom_mesh.call_observer import Observers, SeenCall
from inferloom_mesh.errors import InferloomError, Reason, stopped
from inferloom_mesh.interceptor import told
from inferloom_mesh.status import rich_status
from inferloom_worker.hosting.answer import Followed
from inferloom_worker.output.completion import PlainDelta
from inferloom_worker.rpc.attach.begun import begun
from inferloom_worker.rpc.attach.frame import Frame
from inferloom_worker.rpc.attach.outbox import Item, Outbox
from inferloom_worker.rpc.generating import Generating


class Desk(Protocol):
    """Who holds the calls of an attachment."""

    def ready(self, call: "LinkedCall") -> None:
        """A call has something for a frame."""
        ...

    def over(self, call: "LinkedCall") -> None:
        """A call is over."""
        ...


def end_of(call: int, error: InferloomError | None = None) -> link_pb2.CallEnd:
    """How a call ended. None: well."""
    if error is None:
        return link_pb2.CallEnd(call=call)
    status = rich_status(error)
    return link_pb2.CallEnd(call=call, code=status.code, message=status.message, details=status.details)


class LinkedCall:
    """A call, and what it has to send.

    Args:
        start: What began it.
        seen: What observers see of it.
        observers: Are told of its events and of its end.
        desk: Is told when it has something to send, and when it is over.
    """

    __slots__ = (
        *("_alarm", "_desk", "_end", "_followed", "_generating", "_observers", "_on_end", "_outbox"),
        *("_over", "_room", "_seen", "_task", "listed", "number"),
    )

    def __init__(self, start: link_pb2.StartCall, seen: SeenCall, observers: Observers, desk: Desk) -> None:
        self.number = start.call
        self.listed = False
        """Whether its desk has noted that it is ready."""
        self._seen = seen
        self._observers = observers
        self._desk = desk
        self._outbox = Outbox(start.call, start.events, start.bytes)
        self._on_end: list[Callable[[], object]] = []
        self._task: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._generating: Generating | None = None
        self._followed: Followed | None = None
        self._room: asyncio.Future[None] | None = None
        self._end: link_pb2.CallEnd | None = None
        """Goes when all else went."""
        self._over = False

    def begin(self, work: Callable[[], Coroutine[Any, Any, None]], time_left: float | None) -> None:
        """Do its work: one of the methods below. It may take ``time_left`` seconds."""
        self._task = begun(self._run(work))
        if time_left is not None:
            self._alarm = asyncio.get_running_loop().call_later(time_left, self._late)

    @property
    def reading(self) -> bool:
        """Whether it is a Generate call whose request is not read."""
        return self._seen.method == "Generate" and self._generating is None and self._end is None

    def when_over(self, act: Callable[[], object]) -> None:
        """Have something done when it is over, whichever way."""
        self._on_end.append(act)

    async def generate(self, beginning: Coroutine[Any, Any, Generating]) -> None:
        """A Generate call. It is read step by step from :meth:`fill`, without a task of its own, but where
        its answer can only be waited for."""
        generating = await beginning
        self._generating = generating
        followed = generating.answer.follow(self._news)
        if followed is not None:
            generating.when_ended(self._stop)
            generating.check()  # it may have had to end while it was read
            self._followed = followed
            self._news()
            return
        generating.check()
        async for batch in generating.answer.events():
            for event in batch:
                await self._post(link_pb2.CallEvent(call=self.number, generate=generating.named(event)))
        generating.check()
        self._finish()

    async def embed(self, responses: AsyncIterator[pb.EmbedResponse]) -> None:
        """An Embed call."""
        async with aclosing(responses) as parts:  # type: ignore[type-var] # it is a generator
            async for response in parts:
                await self._post(link_pb2.CallEvent(call=self.number, embed=response))
        self._finish()

    async def answer(self, field: str, work: Coroutine[Any, Any, Any]) -> None:
        """A call with one response, which goes in ``field`` of an event."""
        response = await work
        self._seen.last = response
        event = link_pb2.CallEvent(call=self.number)
        getattr(event, field).CopyFrom(response)
        await self._post(event)
        self._finish()

    def grant(self, events: int, size: int) -> None:
        """More credit came."""
        self._outbox.grant(events, size)
        self._news()

    def cancel(self) -> None:
        """End it without a word: nobody listens any more."""
        self._leave()

    def fail(self, error: InferloomError) -> None:
        """End it with an error, whatever it has to send."""
        if self._over:
            return
        self._stop_work()
        self._outbox.clear()
        self._seen.error = error.kept()
        self._end = end_of(self.number, error)
        self._news()

    def _late(self) -> None:
        self.fail(InferloomError(Reason.TIMEOUT, "The deadline of the call passed."))

    def fill(self, frame: Frame) -> bool:
        """Move into a frame what may go, once a frame. True: there is more that only lacks room."""
        if self._over:
            return False
        outbox, followed = self._outbox, self._followed
        if followed is not None and self._end is None and outbox.empty and outbox.open:
            self._read(followed)
        more = outbox.fill(frame, self._tell)
        if not outbox.empty:
            return more
        if self._end is not None:
            if not frame.take_room(self._end.ByteSize()):
                return True
            frame.ends.append(self._end)
            self._leave(behind_frame=True)
            return False
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        return followed is not None and followed.waiting and outbox.open

    def _read(self, followed: Followed) -> None:
        try:
            for item in followed.read():
                self._outbox.put((self._item(item),))
            if followed.over:
                if self._generating is not None:
                    self._generating.check()
                self._finish()
        except Exception as failure:
            self.fail(told(failure, self._name))

    def _item(self, item: PlainDelta | pb.GenerateResponse) -> Item:
        if isinstance(item, PlainDelta):
            return item
        assert self._generating is not None
        return link_pb2.CallEvent(call=self.number, generate=self._generating.named(item))

    async def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except asyncio.CancelledError:
            # Where nobody has ended the call, what it waited for was cancelled, as by something that closes.
            # The gateway would wait for it for ever.
            if self._over or self._end is not None:
                raise
            self.fail(stopped())
        except Exception as failure:
            self.fail(told(failure, self._name))

    async def _post(self, event: link_pb2.CallEvent) -> None:
        """Send an event; returns when it has gone, so that no more than one waits."""
        self._outbox.put((event,))
        self._news()
        self._room = asyncio.get_running_loop().create_future()
        await self._room

    def _tell(self, item: Item) -> None:
        if isinstance(item, PlainDelta):
            for tell in self._observers.tokens:
                tell(self._seen, len(item.ids))
            return
        kind = item.WhichOneof("event")
        if kind in ("generate", "embed"):
            response = item.generate if kind == "generate" else item.embed
            for tell_event in self._observers.events:
                tell_event(self._seen, response)

    def _news(self) -> None:
        if not (self.listed or self._over):
            self._desk.ready(self)

    def _stop(self) -> None:
        """End it because the worker ends."""
        try:
            if self._generating is not None:
                self._generating.check()
        except InferloomError as error:
            self.fail(error)

    def _finish(self) -> None:
        if self._end is None:
            self._seen.complete = True
            self._end = end_of(self.number)
            self._news()

    def _stop_work(self) -> None:
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        if self._generating is not None:
            self._generating.answer.abort()

    def _leave(self, *, behind_frame: bool = False) -> None:
        """End it. ``behind_frame``: its last frame is being made, which who is told of the end need not hold
        up."""
        if self._over:
            return
        self._over = True
        if self._alarm is not None:
            self._alarm.cancel()
        self._stop_work()
        if self._generating is not None:
            self._generating.close()
        self._generating = self._followed = None  # both hold this call
        for act in self._on_end:
            act()
        self._desk.over(self)
        if behind_frame:
            asyncio.get_running_loop().call_soon(self._observers.ended, self._seen)
        else:
            self._observers.ended(self._seen)

    @property
    def _name(self) -> str:
        return f"/{self._seen.service}/{self._seen.method}"
