"""The spans of requests at both doors, whether or not a worker saw them."""

from collections.abc import Callable
from typing import Any

import grpc
from fastapi import Response

from inferloom_gateway.calls.records import Record
from inferloom_gateway.http.exchange import Exchange, RawHeaders
from inferloom_gateway.http.stack import Layer
from inferloom_gateway.observe.access_log import QUIET, outcome
from inferloom_gateway.observe.route_names import RouteNames
from inferloom_mesh.access_line import CANCELLED, error_name
from inferloom_mesh.call_observer import CallObserver, SeenCall
from inferloom_mesh.context import traced
from inferloom_mesh.otlp_encoding import SERVER, Value
from inferloom_mesh.trace_context import PARENT, STATE, TraceContext
from inferloom_mesh.tracer import Tracer

_PARENT, _STATE = PARENT.encode(), STATE.encode()
_SCHEMES = {"connect": "connectrpc", "grpc-web": "grpc"}


class RestSpans(Layer):
    """Makes the spans of the REST door, and says their names in its responses.

    Args:
        tracer: Decides which are kept.
        clock: Monotonic seconds, those of exchanges.
        scheme: Whether the door speaks ``http`` or ``https``.
    """

    def __init__(self, tracer: Tracer, clock: Callable[[], float], scheme: str = "http") -> None:
        self._tracer = tracer
        self._scheme = scheme
        self._clock = clock
        self._routes = RouteNames()

    def begin(self, exchange: Exchange) -> Response | None:
        """Open one."""
        if exchange.path not in QUIET:
            exchange.trace = self._tracer.begin(parent_of(exchange))
        return None

    def head(self, exchange: Exchange, headers: RawHeaders) -> None:
        """Name it to the caller."""
        if exchange.trace is not None:
            headers.append((b"traceresponse", exchange.trace.here.parent.encode()))

    def end(self, exchange: Exchange) -> None:
        """Close it."""
        span = exchange.trace
        if span is None:
            return
        route = exchange.path if exchange.door != "rest" else self._routes.of(exchange.path)
        method, status, error = exchange.method, exchange.status, outcome(exchange)
        known: dict[str, Value] = {
            "http.request.method": method if method in _METHODS else "_OTHER",
            "url.scheme": self._scheme,
        }
        if route:
            known["http.route"] = route
        if status is not None:
            known["http.response.status_code"] = status
        if error:
            known["error.type"] = error
        if exchange.door != "rest":
            known["rpc.system.name"] = _SCHEMES[exchange.door]
            known["rpc.method"] = route.lstrip("/")
        if exchange.client is not None:
            known["client.address"] = exchange.client[0]
        if exchange.identity.key_id:
            known["inferloom.key"] = exchange.identity.key_id
        plain = exchange.path == route
        if plain:
            known["url.path"] = route
        broken = bool(error) and error != CANCELLED and (status is None or status < 400)
        self._tracer.export.add(
            f"{known['http.request.method']} {route}".rstrip(),
            SERVER,
            span.at,
            (exchange.began, self._clock()),
            known,
            own={"inferloom.request_id": exchange.request_id}
            | ({} if plain else {"url.path": exchange.path}),
            error=broken or (status is not None and status >= 500),
            state=span.here.state,
        )


_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "QUERY"}
)


class GrpcSpans(CallObserver):
    """Makes the spans of the gRPC door.

    Args:
        tracer: Decides which are kept.
        clock: Monotonic seconds, those of calls.
    """

    def __init__(self, tracer: Tracer, clock: Callable[[], float]) -> None:
        self._tracer = tracer
        self._clock = clock

    def began(self, call: SeenCall, context: grpc.aio.ServicerContext[Any, Any] | None) -> None:
        """Open one."""
        if context is not None:
            call.trace = self._tracer.begin(traced(context.invocation_metadata() or ()))

    def ended(self, call: SeenCall) -> None:
        """Close it."""
        span = call.trace
        if span is None:
            return
        name = f"{call.service}/{call.method}"
        error = error_name(call.error) or ("" if call.complete else CANCELLED)
        known: dict[str, Value] = {
            "rpc.system.name": "grpc",
            "rpc.method": name,
            "rpc.response.status_code": call.status,
        }
        if error:
            known["error.type"] = error
        record = call.note if isinstance(call.note, Record) else None
        given = getattr(call.request, "request_id", "") if record is None else record.context.request_id
        self._tracer.export.add(
            name,
            SERVER,
            span.at,
            (call.began, self._clock()),
            known,
            own={"inferloom.request_id": given, "network.peer.address": call.peer},
            error=call.error is not None and call.error.row.http >= 500,
            state=span.here.state,
        )


def parent_of(exchange: Exchange) -> TraceContext | None:
    """What a request says of its trace; None: nothing."""
    parent, states = "", []
    for name, value in exchange.raw_headers:
        if name == _PARENT:
            parent = value.decode("latin-1")
        elif name == _STATE:
            states.append(value.decode("latin-1"))
    return TraceContext.read(parent, ",".join(states)) if parent else None
