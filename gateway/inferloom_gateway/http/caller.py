"""The context of a request that came in over HTTP."""

from fastapi import Request

from inferloom_gateway.calls.call_group import CallGroup
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http.exchange import exchange_of
from inferloom_mesh.context import CallContext, valid_traceparent


def context_of(request: Request, gateway: Gateway) -> CallContext:
    """The context of a request that arrives now."""
    exchange, client = exchange_of(request.scope), request.client
    identity = exchange.identity
    return CallContext(
        exchange.request_id,
        gateway.deadline(),
        caller=f"{client.host}:{client.port}" if client is not None else "",
        tenant=identity.tenant,
        share=identity.share,
        priority_cap=exchange.priority_cap,
        traceparent=valid_traceparent(request.headers.get("traceparent")),
    )


def calls_of(request: Request, gateway: Gateway, method: str, model: str) -> CallGroup:
    """Begin to answer a request with calls to workers; ``method`` names them in its record.

    Raises:
        InferloomError: The model is not open to the caller.
    """
    exchange = exchange_of(request.scope)
    admission = gateway.admission(exchange.identity, model)
    calls = gateway.dispatcher.group(context_of(request, gateway), method, model, admission)
    exchange.record = calls.record
    return calls
