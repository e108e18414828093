"""One request and its response."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import cast

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from inferloom_gateway.calls.sink import Flow
from inferloom_gateway.http.connection.outlet import Outlet, Pace
from inferloom_mesh.errors import InferloomError


class Cycle(RequestResponseCycle):
    """uvicorn's own, which can also be written to at once: a
    :class:`~inferloom_gateway.http.sink.Direct`. Its transport is an :class:`Outlet`."""

    _failure: InferloomError | None = None
    _on_left: Callable[[], object] | None = None

    def write_part(self, data: bytes) -> None:
        """Send a part of a body whose length is not known, at once, as :meth:`send` would."""
        if self.disconnected or self.response_complete:
            return
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked_encoding else data)

    def write_last(self, data: bytes) -> None:
        """The same with the end of the response, which is complete with it."""
        if self.disconnected or self.response_complete:
            return
        self.transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if self.chunked_encoding else data)
        self.response_complete = True
        self._on_left = None
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def together(self) -> AbstractContextManager[None]:
        """What the block sends is one write, at its end."""
        return cast("Outlet", self.transport)

    def hear(self, flow: Flow | None) -> None:
        """Tell ``flow`` when the client does not read, and when it does again."""
        assert isinstance(self.flow, Pace)
        self.flow.listener = flow
        if flow is not None and self.flow.write_paused:
            flow.pause()

    def when_left(self, act: Callable[[], object] | None) -> None:
        """Have ``act`` called should the client leave before the response is complete; at once if it has."""
        self._on_left = act
        if act is not None and self.disconnected:
            act()

    def lost(self) -> None:
        """The connection has ended."""
        if self._on_left is not None and not self.response_complete:
            act, self._on_left = self._on_left, None
            act()

    def fail(self, error: InferloomError) -> None:
        """Let the application's next read of the body raise ``error``, and the connection end with it."""
        self._failure = error
        self.keep_alive = False
        self.message_event.set()

    async def send(self, message: ASGISendEvent) -> None:
        """As ASGI's. A head that tells its body's length goes with the beginning of that."""
        outlet = cast("Outlet", self.transport)
        if message["type"] == "http.response.start":
            if not outlet.holds and any(name == b"content-length" for name, _ in message.get("headers", ())):
                outlet.hold()
            await super().send(message)
        else:
            await super().send(message)
            outlet.release()

    async def receive(self) -> ASGIReceiveEvent:
        """As ASGI's. Raises InferloomError if the body did not come in time."""
        message = await super().receive()
        if self._failure is not None and message["type"] == "http.request":
            raise self._failure
        return message


class OldCycle(Cycle):
    """The same for a client of HTTP/1.0: a body whose length is not known ends with the connection."""

    _until_close = False

    def write_last(self, data: bytes) -> None:
        """See the base."""
        self.expected_content_length = 0
        super().write_last(data)

    async def send(self, message: ASGISendEvent) -> None:
        """As ASGI's."""
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            self._until_close = b"content-length" not in names
            if self._until_close:
                self.chunked_encoding = False
        elif message["type"] == "http.response.body" and self._until_close:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)
