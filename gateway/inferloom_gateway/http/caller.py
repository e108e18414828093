"""The context of a request that came in over HTTP."""

from fastapi import Request

from inferloom_gateway.calls.call_group import CallGroup
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http.exchange import Exchange, exchange_of
from inferloom_gateway.http.time_limits import time_limits
from inferloom_mesh.context import CallContext
from inferloom_mesh.trace_context import PARENT, STATE, TraceContext


def context_of(request: Request, gateway: Gateway, *, streamed: bool = False) -> CallContext:
    """The context of a request that arrives now; ``streamed``: its answer is.

    Raises:
        InferloomError: What it says of its time is no time.
    """
    exchange = exchange_of(request.scope)
    limits = time_limits(request.headers, streamed=streamed)
    exchange.silence_s = limits.silence_s
    return _context(exchange, gateway.deadline(limits.whole_s))


def background_context_of(request: Request, gateway: Gateway) -> CallContext:
    """The context of a request that is answered without its client, whose own patience is for the first word
    of it. Raises as :func:`context_of`."""
    limits = time_limits(request.headers, streamed=True)
    deadline = gateway.deadline(limits.whole_s, gateway.settings.background_limit_s)
    return _context(exchange_of(request.scope), deadline)


def _context(exchange: Exchange, deadline: float) -> CallContext:
    client, identity, trace = exchange.client, exchange.identity, trace_of(exchange)
    return CallContext(
        exchange.request_id,
        deadline,
        caller=f"{client[0]}:{client[1]}" if client is not None else "",
        tenant=identity.tenant,
        share=identity.share,
        priority_cap=exchange.priority_cap,
        traceparent="" if trace is None else trace.parent,
        tracestate="" if trace is None else trace.state,
    )


def trace_of(exchange: Exchange) -> TraceContext | None:
    """What is made of a request is made under this: its own span where it is traced, or its caller's."""
    if exchange.trace is not None:
        return exchange.trace.here
    headers = exchange.headers
    if (parent := headers.get(PARENT)) is None:
        return None
    return TraceContext.read(parent, ",".join(headers.getlist(STATE)))


def calls_of(
    request: Request, gateway: Gateway, method: str, model: str, *, streamed: bool = False
) -> CallGroup:
    """Begin to answer a request with calls to workers; ``method`` names them in its record, and ``streamed``
    says that its answer is a stream of events.

    Raises:
        InferloomError: The model is not open to the caller, or what he says of his time is no time.
    """
    exchange = exchange_of(request.scope)
    admission = gateway.admission(exchange.identity, model)
    calls = gateway.dispatcher.group(
        context_of(request, gateway, streamed=streamed), method, model, admission
    )
    exchange.record = calls.record
    return calls
