"""The way out of a connection, and its pace."""

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl

from inferloom_gateway.calls.gathering import Gathering
from inferloom_gateway.calls.sink import Flow


class Outlet:
    """Writes to a connection. What is written while something is gathered, or held, is one write: a write is
    a system call, and the dearest part of an event.

    Stands for the transport where uvicorn's cycle writes to it.
    """

    __slots__ = ("_gathering", "_held", "_transport", "holds")

    def __init__(self, transport: asyncio.Transport, gathering: Gathering) -> None:
        self._transport = transport
        self._gathering = gathering
        self._held: list[bytes] = []
        self.holds = False
        """Whether what is written waits for :meth:`release`."""

    def write(self, data: bytes) -> None:
        """As a transport's."""
        if self.holds:
            self._held.append(data)
        elif self._gathering.open:
            if not self._held:
                self._gathering.note(self)
            self._held.append(data)
        else:
            self._transport.write(data)

    def hold(self) -> None:
        """Let what is written wait for :meth:`release`."""
        self.holds = True

    def release(self) -> None:
        """Write what waits, and wait no more."""
        if self.holds:
            self.holds = False
            self.flush()

    def __enter__(self) -> None:
        """Write what the block writes in one, at its end."""
        self.holds = True

    def __exit__(self, *_: object) -> None:
        self.release()

    def flush(self) -> None:
        """Write what waits."""
        if not self._held:
            return
        held, self._held = self._held, []
        if not self._transport.is_closing():
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))

    def close(self) -> None:
        """As a transport's: what was written before goes out."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """As a transport's."""
        return self._transport.is_closing()


class Pace(FlowControl):
    """uvicorn's flow control, which also tells whoever writes past the response's own interface."""

    listener: Flow | None = None

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        if self.listener is not None:
            self.listener.pause()

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        if self.listener is not None:
            self.listener.resume()
