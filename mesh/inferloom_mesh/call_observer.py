"""What is told of the calls that a gRPC server answers: when one begins, at each event, and at its end."""

from __future__ import annotations  # grpc's generic types cannot be subscripted at run time

import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import grpc

from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError


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

    @property
    def status(self) -> str:
        """The name of the gRPC status that the caller was sent."""
        if self.error is not None:
            return self.error.row.grpc.name
        return "OK" if self.complete else "CANCELLED"


class CallObserver:
    """Is told of every call but health checks and reflection. Override what is of interest; it must be quick,
    and must not raise."""

    def began(self, call: SeenCall, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """A call came in."""

    def event(self, call: SeenCall, response: Any) -> None:
        """A response is about to be sent."""

    def ended(self, call: SeenCall) -> None:
        """The call is over, whichever way."""


CURRENT: ContextVar[SeenCall | None] = ContextVar("inferloom_call", default=None)
"""The call that the running handler answers."""


def begin(name: str, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> SeenCall:
    """Begin to observe the call of ``name`` (``/service/method``); handlers find it in :data:`CURRENT`."""
    service, _, method = name.lstrip("/").rpartition("/")
    call = SeenCall(service, method, request, context.peer() or "")
    CURRENT.set(call)
    return call
