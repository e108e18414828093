"""The server side of the error table: whatever a handler raises leaves as exactly one status."""

from __future__ import annotations  # grpc's generic types cannot be subscripted at run time

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from inferloom_mesh.call_end import when_ended
from inferloom_mesh.call_observer import CallObserver, Observers, SeenCall, seen_call
from inferloom_mesh.errors import InferloomError, Reason, server_error
from inferloom_mesh.guard import Guard, Metadata
from inferloom_mesh.identity import PEER, PeerIdentity, identity_of
from inferloom_mesh.networks import address_of_peer, check_allowed
from inferloom_mesh.slow_callers import SlowCallers
from inferloom_mesh.status import to_status

if TYPE_CHECKING:
    from inferloom_mesh.audit import Audit
    from inferloom_mesh.networks import Network

    Context = grpc.aio.ServicerContext[Any, Any]
    Take = Callable[[Any, Context], Any]

log = logging.getLogger(__name__)

_MALFORMED = object()
"""Stands for a request that is not a valid message, until a handler's wrapper can answer it."""


class StatusInterceptor(grpc.aio.ServerInterceptor):
    """Turns errors into statuses, and undecodable requests into INVALID_ARGUMENT instead of INTERNAL.

    Args:
        observers: Are told of the calls that have one request.
        guard: Is asked for each call before its request is read; None: everybody may call.
        audit: Is told of whom the guard refuses.
        allowed: Networks that callers must be in; none: any.
        certified: Whether connections show certificates of the mesh.
        slow: Ends streams that their callers do not read; None: nobody does.
    """

    def __init__(
        self,
        observers: Sequence[CallObserver] = (),
        guard: Guard | None = None,
        audit: Audit | None = None,
        allowed: Sequence[Network] = (),
        *,
        certified: bool = False,
        slow: SlowCallers | None = None,
    ) -> None:
        self._slow = slow
        self._observers = Observers(observers)
        self._guard = guard
        self._audit = audit
        self._allowed = tuple(allowed)
        self._certified = certified

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
        read = _lenient(handler.request_deserializer)
        watched = Observers() if handler.request_streaming else self._observers
        changes: dict[str, Any] = {"request_deserializer": read}
        take: Take = _as_it_is
        if self._guard is not None or self._allowed:
            # One request is handed over as bytes, which are read once its caller is known.
            if not handler.request_streaming:
                changes["request_deserializer"] = None
                take = self._asking(name, handler_call_details.invocation_metadata, read)
            else:
                take = self._asking(name, handler_call_details.invocation_metadata, _unchanged)
        for kind in ("unary_unary", "stream_unary"):
            if behaviour := getattr(handler, kind):
                changes[kind] = _unary(behaviour, name, watched, take)
        for kind in ("unary_stream", "stream_stream"):
            if behaviour := getattr(handler, kind):
                changes[kind] = _stream(behaviour, name, watched, take, self._slow)
        return handler._replace(**changes)  # type: ignore[no-any-return] # Any, as said above

    def _asking(self, name: str, metadata: Metadata, read: Callable[[Any], Any]) -> Take:
        guard, audit, certified, allowed = self._guard, self._audit, self._certified, self._allowed

        def take(request: Any, context: Context) -> Any:
            peer = identity_of(context) if certified else None
            PEER.set(peer)
            try:
                if allowed:
                    check_allowed(address_of_peer(context.peer() or ""), allowed)
                if guard is not None:
                    guard.check(name, metadata, peer)
            except InferloomError as refusal:
                if audit is not None:
                    audit.refused(name, who(peer, context), refusal)
                raise
            return read(request)

        return take


def who(peer: PeerIdentity | None, context: Context) -> str:
    """Who makes a call, for the audit log: whom the certificate names, or else where it comes from."""
    return str(peer) if peer is not None else context.peer() or ""


def _as_it_is(request: Any, context: Context) -> Any:
    return request


def _unchanged(request: Any) -> Any:
    return request


def _taken(request: Any, context: Context, take: Take) -> tuple[Any, InferloomError | None]:
    """The request, or why its caller may not make it."""
    try:
        return take(request, context), None
    except InferloomError as refusal:
        return None, refusal


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


def _unary(
    behaviour: Callable[..., Awaitable[Any]],
    name: str,
    observers: Observers,
    take: Take,
) -> Callable[..., Awaitable[Any]]:
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        request, refusal = _taken(request, context, take)
        seen = _begin(name, request, context, observers)
        try:
            if refusal is not None:
                raise refusal
            response = await behaviour(_checked(request), context)
        except Exception as failure:
            await _abort(context, failure, name, seen)
        else:
            seen.last = response
            seen.complete = True
            return response

    return call


def _stream(
    behaviour: Callable[..., AsyncIterator[Any]],
    name: str,
    observers: Observers,
    take: Take,
    slow: SlowCallers | None,
) -> Callable[..., Awaitable[None]]:
    listening = observers.events

    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        request, refusal = _taken(request, context, take)
        seen = _begin(name, request, context, observers)
        try:
            if refusal is not None:
                raise refusal
            with nullcontext() if slow is None else slow.watched(context) as sending:
                send = context.write if sending is None else sending.send
                async for response in behaviour(_checked(request), context):
                    for tell in listening:
                        tell(seen, response)
                    await send(response)
        except grpc.aio.InternalError:  # a message could not be sent: its caller is gone
            raise asyncio.CancelledError from None
        except Exception as failure:
            await _abort(context, failure, name, seen)
        else:
            seen.complete = True

    return call


def _begin(
    name: str, request: Any, context: grpc.aio.ServicerContext[Any, Any], observers: Observers
) -> SeenCall:
    if not observers:
        return SeenCall("", name, None, "")
    seen = seen_call(name, request, context.peer() or "")
    observers.began(seen, context)
    when_ended(context, partial(observers.ended, seen))
    return seen


async def _abort(
    context: grpc.aio.ServicerContext[Any, Any], failure: Exception, name: str, seen: SeenCall
) -> None:
    if isinstance(failure, grpc.aio.AbortError):
        raise failure  # the handler has already chosen its status
    seen.error = told(failure, name)
    try:
        await context.abort_with_status(to_status(seen.error))
    except grpc.aio.AbortError as aborted:
        # grpc keeps it with the call, in a cycle, and raises it again once the handler returns. What it came
        # through, and what it was raised for, hold the request.
        aborted.__traceback__ = aborted.__context__ = None


def told(failure: Exception, name: str) -> InferloomError:
    """What the caller of ``name`` is told of whatever its handler raised, through whichever door he came.
    What is not of the error table is logged, and he is told of no internals."""
    if isinstance(failure, InferloomError):
        return failure.kept()
    log.exception("unexpected failure in %s", name, exc_info=failure)
    return server_error()
