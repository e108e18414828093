"""Where every response goes out: its head past the layers, its events past the listeners."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from starlette.types import Message, Scope, Send

from inferloom_gateway.http.exchange import Exchange

if TYPE_CHECKING:
    from inferloom_gateway.http.stack import Layer

KEY = "inferloom.sink"


class Listener(Protocol):
    """Is told of the events of streams, one call for each frame that is sent."""

    def frame(self, exchange: Exchange, data: bytes) -> None:
        """Take note. On the event loop, before ``data`` is sent: it must be quick and must not raise.

        ``data`` is one frame or, where events came together, a few; ``sse.KEEP_ALIVE`` while there is none.
        """


class Sink:
    """The way out of one exchange, past the layers that it has begun.

    A response that is made whole, or in parts that are no events, uses :meth:`send`; a stream of events
    :meth:`frame` for its body, which no layer wraps. Later it may write to the connection directly.
    """

    __slots__ = ("_layers", "_listeners", "_send", "exchange")

    def __init__(
        self, exchange: Exchange, send: Send, layers: "Sequence[Layer]", listeners: Sequence[Listener]
    ) -> None:
        self.exchange = exchange
        self._send = send
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
        for listener in self._listeners:
            listener.frame(self.exchange, data)
        await self._send({"type": "http.response.body", "body": data, "more_body": True})


def sink_of(scope: Scope) -> Sink:
    """The sink of the exchange that ``scope`` belongs to."""
    sink: Sink = scope[KEY]
    return sink
