"""Where every response goes out: its head past the layers, its events past the listeners."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from starlette.types import Message, Scope, Send

from inferloom_gateway.calls.sink import Flow
from inferloom_gateway.http.exchange import Exchange

if TYPE_CHECKING:
    from inferloom_gateway.http.stack import Layer

KEY = "inferloom.sink"

DIRECT = "inferloom.direct"
"""Key of a :class:`Direct` in the scope of a request that came on one."""


class Listener(Protocol):
    """Is told of the events of streams, one call for each frame that is sent."""

    def frame(self, exchange: Exchange, data: bytes) -> None:
        """Take note. On the event loop, before ``data`` is sent: it must be quick and must not raise.

        ``data`` is one frame or, where events came together, a few; ``sse.KEEP_ALIVE`` while there is none.
        """


class Direct(Protocol):
    """A connection that can be written to at once, behind the head of its response."""

    def write_part(self, data: bytes) -> None:
        """Send a part of a body whose length is not known."""

    def write_last(self, data: bytes) -> None:
        """The same with the end of the response."""

    def together(self) -> AbstractContextManager[None]:
        """What the block sends goes out at its end, in one write."""

    def hear(self, flow: Flow | None) -> None:
        """Tell ``flow`` from now on when the client does not read, and when it does again; None: nobody."""

    def when_left(self, act: Callable[[], object] | None) -> None:
        """Have ``act`` called should the client leave before the response is complete; None: nothing."""


class Sink:
    """The way out of one exchange, past the layers that it has begun.

    A response that is made whole, or in parts that are no events, uses :meth:`send`; a stream of events
    :meth:`frame` for its body, which no layer wraps, or :meth:`write` where there is a way past the server's
    own interface.
    """

    __slots__ = ("_layers", "_listeners", "_send", "direct", "exchange")

    def __init__(
        self,
        exchange: Exchange,
        send: Send,
        layers: "Sequence[Layer]",
        listeners: Sequence[Listener],
        direct: Direct | None = None,
    ) -> None:
        self.exchange = exchange
        self._send = send
        self.direct = direct
        """The connection, where there is a way past the server's own interface."""
        self._layers = layers
        self._listeners = listeners

    async def send(self, message: Message) -> None:
        """As ASGI's. The layers add to the head, the innermost first; a HEAD request gets no body."""
        if message["type"] == "http.response.start":
            self.exchange.status = message["status"]
            headers = list(message.get("headers", ()))
            for layer in reversed(self._layers):
                layer.head(self.exchange, headers)
            message = {**message, "headers": headers}
        elif self.exchange.method == "HEAD":
            message = {**message, "body": b""}
        await self._send(message)

    async def frame(self, data: bytes) -> None:
        """Send events, and wait while the client does not read."""
        await self._send({"type": "http.response.body", "body": self.told(data), "more_body": True})

    def write(self, data: bytes) -> None:
        """Send events at once, whether or not the client reads."""
        assert self.direct is not None, "there is no other way than send"
        self.direct.write_part(self.told(data) if self._listeners else data)

    @property
    def writer(self) -> Callable[[bytes], None] | None:
        """The shortest way to :meth:`write`; None: there is none but :meth:`frame`."""
        if self.direct is None:
            return None
        return self.write if self._listeners else self.direct.write_part

    def write_last(self, data: bytes) -> None:
        """The same with the end of the response, behind which nothing is sent."""
        assert self.direct is not None, "there is no other way than send"
        self.direct.write_last(self.told(data) if self._listeners else data)

    def together(self) -> AbstractContextManager[None]:
        """What the block sends is one write, where there is a way for that."""
        return nullcontext() if self.direct is None else self.direct.together()

    def hear(self, flow: Flow | None) -> None:
        """Tell ``flow`` when the client of a direct connection does not read, and when it does again."""
        if self.direct is not None:
            self.direct.hear(flow)

    def told(self, data: bytes) -> bytes:
        """Events that are about to be sent, of which the listeners know now."""
        for listener in self._listeners:
            listener.frame(self.exchange, data)
        return data


def sink_of(scope: Scope) -> Sink:
    """The sink of the exchange that ``scope`` belongs to."""
    sink: Sink = scope[KEY]
    return sink
