"""One gateway process on this worker: its calls, and the one writer of its stream."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from google.protobuf.message import DecodeError

from inferloom.v1 import link_pb2, registry_pb2
from inferloom_mesh.call_observer import Observers, seen_call
from inferloom_mesh.context import received
from inferloom_mesh.errors import InferloomError, Reason, invalid, overloaded
from inferloom_mesh.frames import FrameError
from inferloom_mesh.interceptor import told
from inferloom_mesh.pieces import PieceBox
from inferloom_mesh.server import MAX_MESSAGE_BYTES
from inferloom_worker.rpc.attach.call import LinkedCall, end_of
from inferloom_worker.rpc.attach.frame import Frame
from inferloom_worker.rpc.attach.methods import METHODS
from inferloom_worker.rpc.incoming import IncomingCall
from inferloom_worker.rpc.inference import Inference

METHOD = "/inferloom.v1.LinkService/Attach"

MOST_CALLS = 4096
"""Calls that a stream carries at once, as many as a connection has streams."""

MOST_ENTRIES = 65_536
"""Entries of each list of a frame that comes in."""

MOST_HELD = 2 * MAX_MESSAGE_BYTES
"""Bytes of incomplete starts on one stream. A gateway sends one after another."""


class Attachment:
    """The calls of one stream. All of it belongs to the event loop.

    Args:
        inference: Answers them.
        observers: Are told of them.
        peer: Whose connection it is, as gRPC spells it.
        on_news: Is told that :meth:`next` has something, where frames are not taken from :meth:`frames`.
    """

    def __init__(
        self,
        inference: Inference,
        observers: Observers,
        peer: str,
        on_news: Callable[[], object] | None = None,
    ) -> None:
        self.closing = False
        """Whether the stream is to end when what is ready was sent."""
        self._on_news = on_news
        self._inference = inference
        self._observers = observers
        self._peer = peer
        self._calls: dict[int, LinkedCall] = {}
        self._ready: list[LinkedCall] = []
        self._refused: list[link_pb2.CallEnd] = []
        self._pieces = PieceBox(MOST_HELD)
        self._greeted = False
        """Whether the gateway was told what it may send."""
        self._beats: Sequence[link_pb2.EngineBeat] = ()
        self._reading: Sequence[int] = ()
        self._load: registry_pb2.Load | None = None
        """What is to be told; None: nothing new."""
        self._told: registry_pb2.Load | None = None
        self._failure: InferloomError | None = None
        self._wake: asyncio.Future[None] | None = None

    async def read(self, requests: AsyncIterator[link_pb2.AttachRequest]) -> None:
        """Take in what the gateway sends, to the end of it. However that comes, the stream ends with it."""
        try:
            async for request in requests:
                self.take(request)
        except Exception as failure:  # it goes to whoever writes the stream
            self._failure = told(failure, METHOD)
        except BaseException:  # cancelled by nobody who would end the stream, or worse
            self._failure = InferloomError(Reason.SERVER_ERROR, "The stream is no longer read.")
            raise
        finally:
            self.close()

    def take(self, request: link_pb2.AttachRequest) -> None:
        """Take in one frame.

        Raises:
            InferloomError: INVALID_ARGUMENT: no gateway sends such a frame.
        """
        for field, entries in (
            ("starts", request.starts),
            ("pieces", request.pieces),
            ("credits", request.credits),
            ("cancels", request.cancels),
        ):
            if len(entries) > MOST_ENTRIES:
                raise invalid(field, f"{field} has {len(entries)} entries; at most {MOST_ENTRIES} are read.")
        for start in request.starts:
            self._start(start)
        for piece in request.pieces:
            self._take_piece(piece)
        for credit in request.credits:
            if (call := self._calls.get(credit.call)) is not None:
                call.grant(credit.events, credit.bytes)
        for number in request.cancels:
            self._pieces.drop(number)
            if (call := self._calls.get(number)) is not None:
                call.cancel()

    def ready(self, call: LinkedCall) -> None:
        """A call has something for a frame."""
        call.listed = True
        self._ready.append(call)
        self._wake_writer()

    def over(self, call: LinkedCall) -> None:
        """A call is over."""
        self._calls.pop(call.number, None)

    def beat(self, engines: Sequence[link_pb2.EngineBeat]) -> None:
        """Tell which engines live, and which calls have come, or come, and are not begun."""
        self._beats = engines
        reading = [number for number, call in self._calls.items() if call.reading]
        self._reading = [*self._pieces.parts, *reading]
        if self._beats or self._reading:
            self._wake_writer()

    def tell(self, load: registry_pb2.Load) -> None:
        """Tell the load where it has changed."""
        if load != self._told:
            self._load = self._told = load
            self._wake_writer()

    def close(self) -> None:
        """End the stream when what is ready was sent."""
        self.closing = True
        self._wake_writer()

    def lost(self) -> None:
        """The stream has ended: so do its calls."""
        self.closing = True
        for call in tuple(self._calls.values()):
            call.cancel()
        # What writes the stream may stand still for ever, and hold this.
        self._pieces.clear()
        self._ready.clear()
        self._refused.clear()

    async def frames(self) -> AsyncIterator[link_pb2.AttachResponse]:
        """What goes to the gateway. While a frame waits to be sent, the calls gather.

        Raises:
            InferloomError: The gateway sent what it may not.
        """
        while self._failure is None:
            message = self.next()
            if message is not None:
                yield message
                await asyncio.sleep(0)  # what calls have to say in this turn of the loop goes along
            elif self.closing:
                break
            else:
                # What wakes it is in the turn before, with what others had to say in that.
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake
        if self._failure is not None:
            raise self._failure.kept()

    def _take_piece(self, piece: link_pb2.StartPiece) -> None:
        parts = self._pieces.parts
        if piece.call not in parts and len(parts) >= MOST_CALLS:
            raise invalid("pieces", f"{len(parts)} starts are incomplete already.")
        try:
            data = self._pieces.add(piece)
            start = None if data is None else link_pb2.StartCall.FromString(data)
        except FrameError as fault:
            raise invalid("pieces", f"{fault}.") from None
        except DecodeError:
            raise invalid("pieces", "Pieces make no start.") from None
        if start is None:
            return
        if start.call != piece.call:
            raise invalid("pieces", "Pieces make a start of another call.")
        self._start(start)

    def _start(self, start: link_pb2.StartCall) -> None:
        number, kind = start.call, start.WhichOneof("request")
        running = self._calls.get(number)
        if running is not None:
            running.fail(invalid("call", f"There is a call {number} already; both end."))
        elif kind is None:
            self._refuse(number, invalid("request", f"One of {', '.join(METHODS)} is required."))
        elif len(self._calls) >= MOST_CALLS:
            self._refuse(number, overloaded(f"{len(self._calls)} calls run on this stream already."))
        else:
            self._begin(start, kind)

    def _begin(self, start: link_pb2.StartCall, kind: str) -> None:
        method, request = METHODS[kind], getattr(start, kind)
        now = time.monotonic()
        name = getattr(request, "request_id", "")
        context = received(start.context, self._peer, name, now=now)
        seen = seen_call(method.name, request, self._peer, context)
        call = LinkedCall(start, seen, self._observers, self)
        self._calls[start.call] = call
        self._observers.began(seen)
        incoming = IncomingCall(context, call.when_over)
        work = partial(method.work, call, self._inference, request, incoming)
        call.begin(work, context.time_left(now))

    def _refuse(self, number: int, error: InferloomError) -> None:
        if len(self._refused) >= MOST_CALLS:
            raise error
        self._refused.append(end_of(number, error))
        self._wake_writer()

    def _wake_writer(self) -> None:
        if self._on_news is not None:
            self._on_news()
        elif self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def next(self) -> link_pb2.AttachResponse | None:
        """The next frame: all that is ready now, as far as there is room. None: there is nothing to say."""
        frame = Frame()
        ready, self._ready = self._ready, []
        again: list[LinkedCall] = []
        for call in ready:
            more = call.fill(frame)  # itself it has no news meanwhile
            call.listed = False
            if more:
                again.append(call)
        for call in again:
            self.ready(call)
        while self._refused and frame.take_room(self._refused[0].ByteSize()):
            frame.ends.append(self._refused.pop(0))
        if not (frame or self._beats or self._reading or self._load is not None):
            return None
        message = frame.message()
        if not self._greeted:
            self._greeted, message.largest_start = True, MAX_MESSAGE_BYTES
        if self._beats:
            message.beats.extend(self._beats)
            self._beats = ()
        if self._reading:
            message.reading.extend(self._reading)
            self._reading = ()
        if self._load is not None:
            message.load.CopyFrom(self._load)
            self._load = None
        return message
