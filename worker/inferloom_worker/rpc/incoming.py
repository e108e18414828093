"""What a door knows of a call beside its request."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc

from inferloom_mesh.call_end import when_ended
from inferloom_mesh.context import CallContext, read_context
from inferloom_mesh.light_dataclasses import dataclass
from inferloom_worker.embed.options import Caller

Context = grpc.aio.ServicerContext[Any, Any]

MARGIN_S = 0.25
"""Time that is kept of a deadline so that what there is reaches the caller; less of short ones."""


@dataclass(frozen=True, slots=True)
class IncomingCall:
    """One call, whichever door it came through."""

    context: CallContext
    """What came along with it: whose it is, and until when. Until callers show who they are, a tenant is a
    connection: one gateway is one tenant, and who calls directly is another."""
    on_end: Callable[[Callable[[], object]], object]
    """Has something called when the call ends, however it ends. On the event loop."""

    def engine_deadline(self) -> float | None:
        """When a model is to end, of ``time.monotonic``, so that what it has still reaches the caller in
        time."""
        deadline = self.context.deadline
        if deadline is None:
            return None
        return deadline - min(MARGIN_S, max(0.0, deadline - time.monotonic()) * 0.05)

    def for_whom(self) -> Caller:
        """Whose vectors and scores it asks for."""
        context = self.context
        return Caller(tenant=context.tenant, share=context.share, cache_scope=context.cache_scope)

    def priority_limit(self, own: int) -> int:
        """The highest priority that the call may have where the worker's own limit is ``own``."""
        cap = self.context.priority_cap
        return own if cap is None else min(own, cap)


def from_grpc(context: Context, request_id: str = "") -> IncomingCall:
    """A gRPC call; ``request_id`` is its request's own name, for callers that send no context."""
    return IncomingCall(read_context(context, request_id), partial(when_ended, context))
