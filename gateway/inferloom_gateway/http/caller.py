"""The context of a request that came in over HTTP."""

from fastapi import Request

from inferloom_gateway.calls.call_group import CallGroup
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http.exchange import exchange_of
from inferloom_mesh.context import CallContext, valid_traceparent


def calls_of(request: Request, gateway: Gateway, method: str, model: str) -> CallGroup:
    """Begin to answer a request with calls to workers; ``method`` names them in its record."""
    exchange, client = exchange_of(request.scope), request.client
    context = CallContext(
        exchange.request_id,
        gateway.deadline(),
        caller=f"{client.host}:{client.port}" if client is not None else "",
        tenant=exchange.identity.tenant,
        traceparent=valid_traceparent(request.headers.get("traceparent")),
    )
    calls = gateway.dispatcher.group(context, method, model)
    exchange.record = calls.record
    return calls
