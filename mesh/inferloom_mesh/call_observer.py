"""What is told of the calls that a service answers: when one begins, at each event, and at its end."""

from __future__ import annotations  # grpc's generic types cannot be subscripted at run time

import time
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import grpc

from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError
from inferloom_mesh.trace_context import OpenSpan, trace_id


@dataclass(slots=True, eq=False)
class SeenCall:
    """One call of a client's. Moments are monotonic."""

    service: str
    """Full name, such as ``inferloom.v1.InferenceService``."""
    method: str
    request: Any
    """The request's message."""
    peer: str
    """Whose connection it came on, as gRPC spells it."""
    context: CallContext | None = None
    """What came with it, where an observer reads that."""
    began: float = field(default_factory=time.monotonic)
    error: InferloomError | None = None
    """What it failed with."""
    complete: bool = False
    """Whether the handler came to its end. If not, and there is no error, it was cancelled."""
    first_s: float | None = None
    """Seconds until the first token or vector, where an observer looks."""
    tokens: int = 0
    """Tokens that were sent, where an observer counts them."""
    last_at: float = 0.0
    """When the last of them were sent."""
    last: Any = None
    """The last response."""
    note: Any = None
    """What the handler leaves here for an observer."""
    trace: OpenSpan | None = None
    """Its span, where it is traced."""
    accepted_at: float = 0.0
    """When it was accepted, where an observer looks."""

    @property
    def status(self) -> str:
        """The name of the gRPC status that the caller was sent."""
        if self.error is not None:
            return self.error.row.grpc.name
        return "OK" if self.complete else "CANCELLED"


class CallObserver:
    """Is told of every call but health checks and reflection. Override what is of interest; it must be quick,
    and must not raise."""

    def began(self, call: SeenCall, context: grpc.aio.ServicerContext[Any, Any] | None) -> None:
        """A call came in. None: it came on a link, and ``call.context`` is there already."""

    def event(self, call: SeenCall, response: Any) -> None:
        """A response is about to be sent."""

    def tokens(self, call: SeenCall, count: int) -> None:
        """A Delta of ``count`` tokens is about to be sent that never became a response of its own."""

    def ended(self, call: SeenCall) -> None:
        """The call is over, whichever way."""


CURRENT: ContextVar[SeenCall | None] = ContextVar("inferloom_call", default=None)
"""The call that the running handler answers."""


class Observers:
    """All that are told of a service's calls."""

    def __init__(self, observers: Sequence[CallObserver] = ()) -> None:
        self._all = observers
        self.events = [each.event for each in observers if type(each).event is not CallObserver.event]
        """Who is to be told of a response."""
        self.tokens = [each.tokens for each in observers if type(each).tokens is not CallObserver.tokens]
        """Who is to be told of tokens."""

    def __bool__(self) -> bool:
        return bool(self._all)

    def began(self, call: SeenCall, context: grpc.aio.ServicerContext[Any, Any] | None = None) -> None:
        """A call came in; its handler finds it in :data:`CURRENT`."""
        CURRENT.set(call)
        for each in self._all:
            each.began(call, context)

    def ended(self, call: SeenCall) -> None:
        """A call is over."""
        for each in self._all:
            each.ended(call)


def trace_id_of(call: SeenCall) -> str:
    """The trace that a call belongs to; empty: none."""
    if call.trace is not None:
        return call.trace.here.trace_id
    return "" if call.context is None else trace_id(call.context.traceparent)


def seen_call(name: str, request: Any, peer: str, context: CallContext | None = None) -> SeenCall:
    """A call of ``name`` (``/service/method``)."""
    service, _, method = name.lstrip("/").rpartition("/")
    return SeenCall(service, method, request, peer, context)
