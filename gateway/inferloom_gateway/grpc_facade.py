"""The gRPC façade: the inference contract, unchanged, in front of all workers."""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import grpc

from inferloom_gateway.access.identity import Identity
from inferloom_gateway.contract.method import Method
from inferloom_gateway.contract.service import Call, Caller, Service
from inferloom_gateway.streams.asking import HEADER
from inferloom_mesh import request_id
from inferloom_mesh.call_end import when_ended
from inferloom_mesh.call_observer import CURRENT
from inferloom_mesh.context import traced

Context = grpc.aio.ServicerContext[Any, Any]


Identify = Callable[[Iterable[tuple[str, Any]]], Identity]
"""Says who calls by a call's metadata. Raises InferloomError."""


def add_service(server: grpc.aio.Server, service: Service, identify: Identify) -> None:
    """Serve all methods of ``service``. A call that its caller cancels ends what it started."""
    handlers = {method.name: _handler(service, method, identify) for method in service.methods}
    name = service.methods[0].service
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))


def _handler(service: Service, method: Method, identify: Identify) -> "grpc.RpcMethodHandler[Any, Any]":
    async def unary(request: Any, context: Context) -> Any:
        with _begin(service, method, request, context, identify) as call:
            return await call.answer()

    async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
        with _begin(service, method, request, context, identify) as call:
            when_ended(context, call.close)
            events = await call.events()
            if call.headers:
                await context.send_initial_metadata(tuple(call.headers.items()))
            while (event := await events.read()) is not None:
                yield event

    kinds: tuple[Any, Any] = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    return kinds[method.streams](  # type: ignore[no-any-return] # the stubs know synchronous servers only
        stream if method.streams else unary,
        request_deserializer=method.request.FromString,
        response_serializer=method.response.SerializeToString,
    )


def _begin(service: Service, method: Method, request: Any, context: Context, identify: Identify) -> Call:
    """Begin to answer a call. A context that it brings is not looked at: callers are not trusted."""
    metadata = tuple(context.invocation_metadata() or ())
    told = {name: value for name, value in metadata if isinstance(value, str)}
    named = told.get(request_id.HEADER, "")
    seen = CURRENT.get()
    caller = Caller(
        context.peer() or "",
        identify(metadata),
        named if request_id.is_request_id(named) else "",
        context.time_remaining(),
        traced(metadata) if seen is None or seen.trace is None else seen.trace.here,
        told.get(HEADER),
    )
    call = service.begin(method, request, caller)
    if seen is not None and call.record is not None:
        seen.note = call.record
    return call
