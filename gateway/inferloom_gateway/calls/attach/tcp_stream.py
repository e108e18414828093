"""Frames on a connection of the link's own."""

import asyncio
import logging
from collections.abc import Callable

from google.protobuf.message import DecodeError

from inferloom.v1 import link_pb2
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.attach.stream import Desk
from inferloom_mesh.errors import shown
from inferloom_mesh.frame_connection import CLOSED, FrameConnection
from inferloom_mesh.frames import PREAMBLE, FrameError

log = logging.getLogger(__name__)

PATIENCE_S = 12
"""Seconds of silence after which a worker is lost, as in gRPC's keep-alive (``mesh/channel.py``)."""

_LAST_S = 2.0
"""How long what was written last may take to get away."""


class TcpStream:
    """A :class:`~inferloom_gateway.calls.attach.stream.FrameStream` without tasks: a frame is taken in by the
    event loop's callback for the bytes that it came in.

    Args:
        worker: Its address, for the log.
        hello: What is said first.
        on_open: Is given the stream when the worker has let it in, and starts it.
    """

    def __init__(self, worker: str, hello: bytes, on_open: Callable[["TcpStream"], object]) -> None:
        self.connection = FrameConnection(self, PATIENCE_S)
        self.met: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the worker has let the gateway in, or fails with an OSError."""
        self._worker = worker
        self._hello = hello
        self._on_open = on_open
        self._desk: Desk | None = None

    # the attachment's

    def start(self, desk: Desk) -> None:
        """See FrameStream; so are the others."""
        self._desk = desk
        self.wake()

    def wake(self) -> None:
        """There is something to send."""
        self.connection.wake()

    def hurry(self) -> None:
        """The same, in this turn of the event loop."""
        self.connection.flush()

    def cancel(self) -> None:
        """End it."""
        self.connection.close()

    async def ended(self) -> None:
        """Wait until it is closed: what was written goes before, unless the worker does not take it."""
        try:
            async with asyncio.timeout(_LAST_S):
                await self.connection.ended()
        except TimeoutError:
            self.connection.abort(None)
            await self.connection.ended()

    # the connection's

    def connected(self) -> None:
        """Say who this is."""
        encrypted = self.connection.transport.get_extra_info("ssl_object")
        if encrypted is not None and encrypted.selected_alpn_protocol() != PREAMBLE.decode():
            self.connection.abort("it speaks another protocol in its TLS")
        else:
            self.connection.send(self._hello, before=PREAMBLE)

    def take(self, frame: bytes) -> None:
        """Take in a frame: the first says whether the worker lets the gateway in."""
        desk = self._desk
        try:
            if desk is None:
                self._meet(link_pb2.CallEnd.FromString(frame))
                return
            message = link_pb2.AttachResponse.FromString(frame)
        except DecodeError:
            raise FrameError("a frame is not a valid message") from None
        try:
            desk.take(message)
        except Exception as failure:
            verdict = desk.fault(failure)
            self._desk = None
            self.connection.abort(None)
            desk.end(verdict)

    def next(self) -> bytes | None:
        """What the attachment has to say."""
        frame = None if self._desk is None else self._desk.next()
        return None if frame is None else frame.SerializeToString()

    def lost(self, why: str | None) -> None:
        """Its calls end with it."""
        if not self.met.done():
            self.met.set_exception(ConnectionError(why or CLOSED))
            self.met.exception()  # nobody may wait for it any more
        elif why is not None:
            log.info("the link to the worker at %s ended: %s", self._worker, why)
        desk, self._desk = self._desk, None
        if desk is not None:
            desk.end(attempt.lost())

    def _meet(self, answer: link_pb2.CallEnd) -> None:
        if answer.call or answer.code:
            said = shown(" ".join(answer.message.split()))  # a line of the log, whoever says it
            raise FrameError(f"it does not let this gateway in: {said}")
        self.connection.opened()
        if not self.met.done():
            self.met.set_result(None)
        self._on_open(self)
