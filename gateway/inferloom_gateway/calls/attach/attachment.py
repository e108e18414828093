"""The calls on one stream to a worker. No I/O."""

import asyncio
import logging
from collections.abc import Callable

from inferloom.v1 import link_pb2
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.attach.broken import BrokenFrameError
from inferloom_gateway.calls.attach.demultiplexer import Demultiplexer, LoadListener
from inferloom_gateway.calls.attach.link_call import LinkCall
from inferloom_gateway.calls.attach.outgoing import Outgoing
from inferloom_gateway.calls.attach.stream import FrameStream
from inferloom_gateway.calls.attempt import Verdict
from inferloom_gateway.calls.gathering import Gathering

log = logging.getLogger(__name__)


class Attachment:
    """The stream, and the calls on it, which end with it.

    Args:
        stream: Carries the frames.
        worker: Its address, for the log.
        on_load: Is told of the worker's load.
        on_end: Is told that the stream has ended, before its calls are.
        gathering: Runs while a frame is taken in.
    """

    def __init__(
        self,
        stream: FrameStream,
        worker: str,
        on_load: LoadListener,
        on_end: Callable[["Attachment"], None],
        gathering: Gathering,
    ) -> None:
        self.refused = False
        """Whether the worker turned out to have no such streams."""
        self.heard = False
        """Whether the worker has answered."""
        self._stream = stream
        self._worker = worker
        self._on_end = on_end
        self._gathering = gathering
        self._demultiplexer = Demultiplexer(on_load)
        self._outgoing = Outgoing()
        self._largest_start = 0
        """Bytes of what the worker takes in pieces, once it has answered."""
        self._owing: dict[int, LinkCall] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        stream.start(self)

    def number(self) -> int:
        """A number for the next call."""
        return self._demultiplexer.number()

    def start(self, call: LinkCall, start: link_pb2.StartCall) -> None:
        """Begin a call."""
        calls = self._demultiplexer.calls
        calls[call.number] = call
        self._idle.clear()
        self._outgoing.start(start)
        if self.heard:
            self._move_large()
        if len(calls) == 1:
            self._stream.hurry()
        else:
            self._stream.wake()

    def credit(self, call: int, events: int, size: int) -> None:
        """Let the worker send more of a call."""
        self._outgoing.credit(call, events, size)
        self._stream.wake()

    def owe(self, call: LinkCall) -> None:
        """Note that a call has spent a little."""
        self._owing[call.number] = call

    def settle(self) -> None:
        """Give back what was spent by all that have been noted."""
        owing, self._owing = self._owing, {}
        for call in owing.values():
            call.give_back()

    def leave(self, call: int, *, cancel: bool) -> None:
        """Forget a call; ``cancel``: which the worker is to end."""
        self._demultiplexer.forget(call)
        self._owing.pop(call, None)
        if not self._demultiplexer.calls:
            self._idle.set()
        if cancel:
            self._outgoing.cancel(call)
            self._stream.wake()

    async def close(self, grace_s: float | None) -> None:
        """End the stream once its calls are over, after ``grace_s`` at the latest; None: at once."""
        if grace_s is not None:
            try:
                async with asyncio.timeout(grace_s):
                    await self._idle.wait()
            except TimeoutError:
                pass
        self._stream.cancel()
        await self._stream.ended()

    async def retire(self) -> None:
        """End the stream once its calls are over, however long that takes."""
        await self._idle.wait()
        await self.close(None)

    # the stream's

    def take(self, frame: link_pb2.AttachResponse) -> None:
        """See :class:`~inferloom_gateway.calls.attach.stream.Desk`; so are the others."""
        if not self.heard:
            self._hear(frame.largest_start)
        with self._gathering:
            self._demultiplexer.take(frame)

    def next(self) -> link_pb2.AttachRequest | None:
        """The next frame. From now on its calls are the worker's doing too."""
        frame = self._outgoing.next()
        if frame is not None:
            calls = self._demultiplexer.calls
            begun = [start.call for start in frame.starts]
            for number in (*begun, *(piece.call for piece in frame.pieces)):
                if (call := calls.get(number)) is not None:
                    call.went()
            # Those behind it wait for the line and not for the worker, which cannot even name them.
            for number in self._outgoing.behind if frame.pieces else ():
                if (call := calls.get(number)) is not None:
                    call.beat(moved=True)
        return frame

    def fault(self, failure: Exception) -> Verdict:
        """What a failure of :meth:`take` means."""
        if isinstance(failure, BrokenFrameError):
            log.error("the worker at %s broke the rules of the link: %s", self._worker, failure)
            return attempt.broken()
        # A bug: its calls must end, or their callers wait for ever.
        log.error("the link to the worker at %s failed", self._worker, exc_info=failure)
        return attempt.bug()

    def end(self, verdict: Verdict, *, refused: bool = False) -> None:
        """End the calls."""
        self.refused = refused
        self._on_end(self)
        for call in tuple(self._demultiplexer.calls.values()):
            if not (refused and call.move()):
                call.end(verdict)

    # inside

    def _hear(self, largest_start: int) -> None:
        """The worker has answered, and said how large a start may be."""
        self.heard = True
        self._largest_start, self._outgoing.takes_pieces = largest_start, bool(largest_start)
        self._move_large()
        self._stream.wake()

    def _move_large(self) -> None:
        """Have calls made by themselves whose starts are too large for the worker."""
        for number in self._outgoing.larger_than(self._largest_start):
            self._outgoing.cancel(number)
            if (call := self._demultiplexer.calls.get(number)) is not None:
                call.move()
