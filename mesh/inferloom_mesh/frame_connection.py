"""One end of a connection that carries frames: what is the same at both ends."""

import asyncio
import logging
import socket
from typing import Protocol, cast

from inferloom_mesh.frames import LARGEST_FRAME, FrameError, FrameReader, framed
from inferloom_mesh.tcp_info import acknowledged

log = logging.getLogger(__name__)

GREETING_S = 5
"""How long the other end may take to say who it is, in seconds."""

BEAT_S = 4
"""Seconds without a frame after which an end says that it is there."""

STUCK_S = 30
"""Seconds that the other end may take for one frame, or to take anything of what waits for it. It takes
something when less waits in the transport, or when its system has acknowledged more: with TLS the former is
only what is not encrypted yet, of which a slow reader may take nothing for longer. Where the system does not
tell what was acknowledged, with TLS all that is heard of the other end counts."""

WRITE_BUFFER = 2**18
"""Bytes that wait for the other end before no more are made, as in a stream of gRPC's."""

CLOSED = "the other end closed it"
"""Why a connection is over whose other end closed it in order."""

_TOGETHER = 2**16
"""Bytes of small frames that are one write at most."""


class FrameOwner(Protocol):
    """Whose frames a connection carries."""

    def connected(self) -> None:
        """The connection is made, with TLS if it has that."""

    def take(self, frame: bytes) -> None:
        """Take in a frame.

        Raises:
            FrameError: It may not come. The connection ends.
        """

    def next(self) -> bytes | None:
        """The next frame to send; None: there is none now."""

    def lost(self, why: str | None) -> None:
        """The connection is over; None: it was closed here. Called once, if there was a connection."""


class FrameConnection(asyncio.Protocol):
    """Sends and takes frames. What is to be sent in one turn of the event loop is one write.

    Time is counted in looks, once a second: an end that did nothing for a while itself does not take that for
    silence of the other.

    Args:
        owner: Makes the frames, and is given those that come.
        patience_s: Seconds of silence after which the other end is lost.
        greeting: Bytes of the other end's first frame at most.
    """

    def __init__(self, owner: FrameOwner, patience_s: int, greeting: int = LARGEST_FRAME) -> None:
        self.open = False
        """Whether both ends know each other."""
        self.over = False
        self._owner = owner
        self._patience_s = patience_s
        self._reader = FrameReader(most=greeting)
        self._transport: asyncio.Transport | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._woken = self._full = self._closing = False
        self._why: str | None = None
        self._silent = self._quiet = self._stuck = self._incomplete = 0
        self._waiting = self._acknowledged = 0
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # the owner's

    @property
    def transport(self) -> asyncio.Transport:
        """What it goes over, once it is connected."""
        assert self._transport is not None
        return self._transport

    def opened(self) -> None:
        """Note that the other end has said who it is."""
        self.open = True
        self._reader.most = LARGEST_FRAME
        self._arm()

    def send(self, frame: bytes, before: bytes = b"") -> None:
        """Send a frame at once."""
        self._write(before + framed(frame))

    def wake(self) -> None:
        """Ask the owner for frames before the next turn of the event loop."""
        if not (self._woken or self._full or self.over):
            self._woken = True
            asyncio.get_running_loop().call_soon(self._flush)

    def flush(self) -> None:
        """Ask the owner for frames now, unless that comes in the next turn anyway. Not for the owner's own
        ``next``."""
        if not (self._woken or self._full or self.over):
            self._woken = True
            self._flush()

    def close(self) -> None:
        """End it once what waits was sent."""
        self._closing = True
        self.wake()

    def abort(self, why: str | None) -> None:
        """End it at once, for the reason ``why``; None: it is not wanted any more."""
        if not self.over:
            self.over, self._why = True, why
            if self._transport is not None:
                self._transport.abort()

    async def ended(self) -> None:
        """Wait until it is over."""
        await asyncio.shield(self._ended)

    # the event loop's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without saying so
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER)
        underneath = transport.get_extra_info("socket")
        if underneath is not None and underneath.family in (socket.AF_INET, socket.AF_INET6):
            underneath.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.over:
            self._transport.abort()
            return
        self._alarm = asyncio.get_running_loop().call_later(
            GREETING_S, self.abort, f"it did not say who it is within {GREETING_S} s"
        )
        self._owner.connected()

    def data_received(self, data: bytes) -> None:
        """Take in frames."""
        if self.over or self._closing:
            return
        self._silent = 0
        reader, take = self._reader, self._owner.take
        reader.feed(data)
        try:
            while (frame := reader.next()) is not None:
                self._incomplete = 0
                if frame or not self.open:  # an open connection's empty frame is a beat
                    take(frame)
                    if self.over or self._closing:
                        return
        except FrameError as fault:
            self.abort(str(fault))
        except Exception:
            log.exception("a frame could not be handled")
            self.abort("a frame could not be handled")

    def eof_received(self) -> None:
        """The other end sends no more: the connection is closed."""

    def pause_writing(self) -> None:
        """Make no more frames for now."""
        self._full = True
        self._waiting = self._stuck = self._acknowledged = 0

    def resume_writing(self) -> None:
        """Go on."""
        self._full = False
        self.wake()

    def connection_lost(self, failure: Exception | None) -> None:
        """End."""
        if self._alarm is not None:
            self._alarm.cancel()
        ordered = self.over or self._closing
        self.over = True
        why = self._why
        if why is None and not ordered:
            why = CLOSED if failure is None else str(failure) or type(failure).__name__
        if not self._ended.done():
            self._ended.set_result(None)
        owner = self._owner
        del self._owner, self._reader  # it holds this, and whoever holds this needs neither any more
        owner.lost(why)

    # inside

    def _flush(self) -> None:
        try:
            self._send_all()
        finally:
            self._woken = False

    def _send_all(self) -> None:
        if self._full or self.over or self.transport.is_closing():
            return
        parts: list[bytes] = []
        size = 0
        try:
            while (frame := self._owner.next()) is not None:
                parts.append(framed(frame))
                size += len(frame)
                if size >= _TOGETHER:
                    self._write(b"".join(parts))
                    parts.clear()
                    size = 0
                    if self._full:
                        return
        except Exception:
            log.exception("a frame could not be made")
            self.abort("a frame could not be made")
            return
        if parts:
            self._write(b"".join(parts))
        if self._closing and not self._full:
            self.transport.close()

    def _write(self, data: bytes) -> None:
        self._quiet = 0
        self.transport.write(data)

    def _arm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_later(1, self._look)

    def _look(self) -> None:
        self._silent += 1
        self._quiet += 1
        if self._reader.partial:
            self._incomplete += 1
        if self._full:
            self._stuck = 0 if self._took_something() else self._stuck + 1
        if self._silent >= self._patience_s:
            self.abort(f"nothing was heard of it for {self._patience_s} s")
        elif self._incomplete >= STUCK_S:
            self.abort(f"a frame did not come to its end within {STUCK_S} s")
        elif self._full and self._stuck >= STUCK_S:
            self.abort(f"it has read nothing for {STUCK_S} s")
        else:
            if self._quiet >= BEAT_S and not (self._full or self._closing):
                self.send(b"")
            self._arm()

    def _took_something(self) -> bool:
        """Whether the other end has taken in anything of what waits for it since the last look."""
        waiting, before = self.transport.get_write_buffer_size(), self._waiting
        self._waiting = waiting
        if waiting < before:
            return True
        if self.transport.get_extra_info("ssl_object") is None:
            return False
        acknowledged_now = acknowledged(self.transport.get_extra_info("socket"))
        if acknowledged_now is None:
            return self._silent <= 1
        moved, self._acknowledged = acknowledged_now > self._acknowledged, acknowledged_now
        return moved
