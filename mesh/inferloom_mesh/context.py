"""What goes with a request from the door where it came in to the engine that computes it."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from inferloom.v1 import context_pb2
from inferloom_mesh.durations import duration, seconds
from inferloom_mesh.identity import PEER
from inferloom_mesh.light_dataclasses import dataclass
from inferloom_mesh.request_id import is_request_id
from inferloom_mesh.roles import TELLS_OF_TENANTS
from inferloom_mesh.trace_context import PARENT, STATE, TraceContext

KEY = "inferloom-context-bin"
"""Metadata key of a call that carries a context, as an ``inferloom.v1.CallContext``."""

LONGEST_NAME = 256
"""Characters of a caller's or tenant's name that are kept."""

LEAST_SHARE = 1e-3
"""A tenant's share is from this to its inverse."""


@dataclass(frozen=True, slots=True)
class CallContext:
    """One request's context, made once at its door.

    Moments are on this process's monotonic clock. Only the time that is left crosses to another process, so
    that clocks need not agree.
    """

    request_id: str
    deadline: float | None = None
    """When the request must be over; None: no limit."""
    caller: str = ""
    """Who calls: a network address, or the id of an API key."""
    tenant: str = ""
    """Whose share of the workers it uses; empty at a gateway: that of the gateway's connection."""
    cache_scope: str = ""
    """On a worker: the tenant that cached state is shared within, as the gateway said; empty: everybody."""
    share: float = 1.0
    """The tenant's part of a busy worker, in relation to other tenants'."""
    priority_cap: int | None = None
    """The highest scheduling priority that it may have; None: any."""
    traceparent: str = ""
    """The span that it is made under, as W3C Trace Context has it; empty: none."""
    tracestate: str = ""
    """What tracing systems say of it to themselves; empty: nothing."""
    tell_prompt: bool = False
    """On a worker: whether its caller wants to know the prompt's tokens."""

    @property
    def stands_back(self) -> bool:
        """Whether everything else goes before it, as before the lines of batches."""
        return self.priority_cap is not None and self.priority_cap < 0

    def time_left(self, now: float) -> float | None:
        """Seconds until the deadline, below zero past it."""
        return None if self.deadline is None else self.deadline - now

    def message(self, now: float) -> context_pb2.CallContext:
        """What carries it to another process."""
        message = context_pb2.CallContext()
        self.fill(message, now)
        return message

    def fill(self, message: context_pb2.CallContext, now: float) -> None:
        """The same in the place where it is sent from: a copy costs as much as making it."""
        message.request_id = self.request_id
        message.caller = self.caller
        message.tell_prompt = True  # so that what a caller has seen of it can go on elsewhere
        if (left := self.time_left(now)) is not None:
            message.time_left.CopyFrom(duration(left))
        if self.tenant:
            message.tenant = self.tenant
        if self.traceparent:
            message.traceparent, message.tracestate = self.traceparent, self.tracestate
        if self.priority_cap is not None:
            message.priority_cap = self.priority_cap
        if self.share != 1:
            message.share = self.share

    def metadata(self, now: float) -> tuple[tuple[str, bytes], ...]:
        """The same as a call's metadata."""
        return ((KEY, self.message(now).SerializeToString()),)


def read_context(
    call: grpc.aio.ServicerContext[Any, Any],
    request_id: str = "",
    clock: Callable[[], float] = time.monotonic,
) -> CallContext:
    """The context of a call that a worker received: what a gateway sent, or what the call itself tells.

    Where the mesh has certificates, only what a gateway sent is read; where it has a secret, only peers come
    here (:mod:`inferloom_mesh.guard`); without either, whoever reaches a worker's port is trusted to be a
    gateway. The nearer of the sent deadline and the call's own holds. Without a tenant it is the connection
    that counts.

    Args:
        call: The call.
        request_id: The request's own name, for calls that carry no context.
        clock: Monotonic seconds.
    """
    return received(_sent(call), call.peer() or "", request_id, time_left=call.time_remaining(), now=clock())


def traced(metadata: Iterable[tuple[str, Any]]) -> TraceContext | None:
    """What a call's metadata says of its trace, in the words of W3C. None: nothing."""
    given = {key: value for key, value in metadata if key in (PARENT, STATE) and isinstance(value, str)}
    return TraceContext.read(given.get(PARENT), given.get(STATE)) if given else None


def received(
    sent: context_pb2.CallContext,
    peer: str,
    request_id: str = "",
    *,
    time_left: float | None = None,
    now: float,
) -> CallContext:
    """What a gateway sent with a call, however it came, as :func:`read_context` says.

    Args:
        sent: The message.
        peer: Whose connection the call came on.
        request_id: The request's own name.
        time_left: Seconds that the call itself has. None: no limit.
        now: Monotonic seconds.
    """
    limits = [] if time_left is None else [time_left]
    if sent.HasField("time_left"):
        limits.append(max(0.0, seconds(sent.time_left)))
    trace = TraceContext.read(sent.traceparent, sent.tracestate) if sent.traceparent else None
    return CallContext(
        request_id=sent.request_id if is_request_id(sent.request_id) else request_id,
        deadline=now + min(limits) if limits else None,
        caller=sent.caller[:LONGEST_NAME] or peer,
        tenant=sent.tenant[:LONGEST_NAME] or peer,
        cache_scope=sent.tenant[:LONGEST_NAME],
        share=sent.share if sent.HasField("share") and LEAST_SHARE <= sent.share <= 1 / LEAST_SHARE else 1.0,
        priority_cap=sent.priority_cap if sent.HasField("priority_cap") else None,
        traceparent="" if trace is None else trace.parent,
        tracestate="" if trace is None else trace.state,
        tell_prompt=sent.tell_prompt,
    )


def _sent(call: grpc.aio.ServicerContext[Any, Any]) -> context_pb2.CallContext:
    message = context_pb2.CallContext()
    believed = (peer := PEER.get()) is None or peer.role in TELLS_OF_TENANTS
    metadata = call.invocation_metadata() or ()
    for key, value in metadata:
        if believed and key == KEY and isinstance(value, bytes):
            try:
                message.ParseFromString(value)
            except DecodeError:
                message.Clear()
    if not message.traceparent and (trace := traced(metadata)) is not None:
        message.traceparent, message.tracestate = trace.parent, trace.state
    return message
