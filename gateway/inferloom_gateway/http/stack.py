"""The HTTP stack: what happens around every request, whatever answers it, as one list of layers."""

import re
from collections.abc import Callable, Sequence

from fastapi import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from inferloom_gateway.http import exchange, sink
from inferloom_gateway.http.errors import response
from inferloom_gateway.http.exchange import Exchange, RawHeaders
from inferloom_gateway.http.sink import Listener, Sink
from inferloom_mesh.errors import InferloomError

_SLASHES = re.compile("/{2,}")


class Layer:
    """One concern of every request. It sees a request's beginning, its response's head, and its end.

    One object serves all requests; what belongs to one is on its exchange. None sees a body: who wants to
    know of the events of a stream is a :class:`Listener` as well.
    """

    def begin(self, exchange: Exchange) -> Response | None:
        """See a request before anything else is done with it; a response answers it here.

        Raises:
            InferloomError: The request is refused.
        """
        return None

    def head(self, exchange: Exchange, headers: RawHeaders) -> None:
        """See a response that begins, with ``exchange.status`` set; ``headers`` may be added to."""

    def end(self, exchange: Exchange) -> None:
        """See the end of an exchange that this layer began: complete, broken off or left by its client."""


class Stack:
    """Runs an application inside of layers.

    It also puts requests in the form that the application knows: single slashes and none at the end, and GET
    for HEAD, whose body the sink drops. A request that comes from inside has its exchange already.

    Args:
        app: Answers what no layer answers.
        layers: From the outermost to the innermost.
        listeners: Are told of every event that is sent.
        refusal: The response to what a layer refuses.
    """

    def __init__(
        self,
        app: ASGIApp,
        layers: Sequence[Layer],
        listeners: Sequence[Listener] = (),
        refusal: Callable[[Scope, InferloomError], ASGIApp] = lambda _, failure: response(failure),
    ) -> None:
        self._app = app
        self._refusal = refusal
        self._layers = tuple(layers)
        self._listeners = tuple(listeners)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        path = scope["path"] = plain_path(scope["path"])
        seen = scope.get(exchange.KEY) or Exchange(method, path, scope.get("client"), scope["headers"])
        if method == "HEAD":  # the server's own scope goes on saying so
            scope = {**scope, "method": "GET"}
        begun: list[Layer] = []
        out = Sink(seen, send, begun, self._listeners, scope.pop(sink.DIRECT, None))
        scope[exchange.KEY] = seen
        scope[sink.KEY] = out
        answer: ASGIApp = self._app
        try:
            try:
                for layer in self._layers:
                    begun.append(layer)
                    if (early := layer.begin(seen)) is not None:
                        answer = early
                        break
            except InferloomError as failure:
                answer = self._refusal(scope, failure)
            await answer(scope, receive, out.send)
        finally:
            for layer in reversed(begun):
                layer.end(seen)
            scope.pop(sink.KEY, None)  # it holds the connection's cycle, which holds the scope


def plain_path(path: str) -> str:
    """``//v1//chat/completions/`` → ``/v1/chat/completions``, so that nobody needs to be redirected."""
    if "//" in path:
        path = _SLASHES.sub("/", path)
    return path[:-1] if path.endswith("/") and len(path) > 1 else path
