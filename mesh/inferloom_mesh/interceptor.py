"""The server side of the error table: whatever a handler raises leaves as exactly one status."""

from __future__ import annotations  # grpc's generic types cannot be subscripted at run time

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from inferloom_mesh.errors import InferloomError, Reason, server_error
from inferloom_mesh.status import to_status

log = logging.getLogger(__name__)

_MALFORMED = object()
"""Stands for a request that is not a valid message, until a handler's wrapper can answer it."""


class StatusInterceptor(grpc.aio.ServerInterceptor):
    """Turns errors into statuses, and undecodable requests into INVALID_ARGUMENT instead of INTERNAL."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler that would run."""
        handler: Any = await continuation(handler_call_details)  # a namedtuple, which its type does not say
        if handler is None or handler_call_details.method.startswith("/grpc."):
            return handler  # type: ignore[no-any-return] # Any, as said above
        name = handler_call_details.method
        changes: dict[str, Any] = {"request_deserializer": _lenient(handler.request_deserializer)}
        for kind in ("unary_unary", "stream_unary"):
            if behaviour := getattr(handler, kind):
                changes[kind] = _unary(behaviour, name)
        for kind in ("unary_stream", "stream_stream"):
            if behaviour := getattr(handler, kind):
                changes[kind] = _stream(behaviour, name)
        return handler._replace(**changes)  # type: ignore[no-any-return] # Any, as said above


def _lenient(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return _MALFORMED

    return read


def _checked(request: Any) -> Any:
    if request is _MALFORMED:
        raise InferloomError(Reason.INVALID_ARGUMENT, "The request is not a valid message of its type.")
    if not isinstance(request, AsyncIterator):
        return request

    async def checked_stream() -> AsyncIterator[Any]:
        async for item in request:
            yield _checked(item)

    return checked_stream()


def _unary(behaviour: Callable[..., Awaitable[Any]], name: str) -> Callable[..., Awaitable[Any]]:
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await behaviour(_checked(request), context)
        except Exception as failure:
            await _abort(context, failure, name)

    return call


def _stream(behaviour: Callable[..., AsyncIterator[Any]], name: str) -> Callable[..., AsyncIterator[Any]]:
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        try:
            async for response in behaviour(_checked(request), context):
                yield response
        except Exception as failure:
            await _abort(context, failure, name)

    return call


async def _abort(context: grpc.aio.ServicerContext[Any, Any], failure: Exception, name: str) -> None:
    if isinstance(failure, grpc.aio.AbortError):
        raise failure  # the handler has already chosen its status
    await context.abort_with_status(to_status(told(failure, name)))


def told(failure: Exception, name: str) -> InferloomError:
    """What the caller of ``name`` is told of whatever its handler raised, through whichever door he came.
    What is not of the error table is logged, and he is told of no internals."""
    if isinstance(failure, InferloomError):
        return failure
    log.exception("unexpected failure in %s", name, exc_info=failure)
    return server_error()
