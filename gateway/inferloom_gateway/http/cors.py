"""The layer that lets browsers call from pages of other origins."""

from collections.abc import Sequence

from fastapi import Response
from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from inferloom_gateway.http.exchange import Exchange, RawHeaders
from inferloom_gateway.http.stack import Layer


class Cors(Layer):
    """Answers preflights and names the origins that may read a response.

    The rules are those of Starlette's middleware, which would wrap the body of every stream; its parts are
    used without it. Pages may call an address of the private network: where the gateway listens is its
    operator's choice.
    """

    def __init__(self, origins: Sequence[str], expose: Sequence[str]) -> None:
        self._rules = CORSMiddleware(
            _nobody,
            allow_origins=origins,
            allow_methods=["*"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=expose,
        )

    def begin(self, exchange: Exchange) -> Response | None:
        """Answer a preflight."""
        if exchange.method != "OPTIONS":
            return None
        headers = exchange.headers
        if "origin" in headers and "access-control-request-method" in headers:
            return self._rules.preflight_response(headers)
        return None

    def head(self, exchange: Exchange, headers: RawHeaders) -> None:
        """Say who may read the response."""
        origin = exchange.headers.get("origin")
        if origin is None or exchange.method == "OPTIONS":
            return
        named = MutableHeaders(raw=headers)
        named.update(self._rules.simple_headers)
        if self._rules.allow_all_origins:
            named.add_vary_header("Origin")
        elif self._rules.is_allowed_origin(origin):
            self._rules.allow_explicit_origin(named, origin)


async def _nobody(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands where the middleware's application would be."""
