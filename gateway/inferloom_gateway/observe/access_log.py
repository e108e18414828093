"""The gateway's access log: one line for each request at either door, whether or not a worker saw it."""

import logging
import time

from inferloom_gateway.calls.records import Record
from inferloom_gateway.http.errors import CLIENT_CLOSED_REQUEST
from inferloom_gateway.http.exchange import Exchange
from inferloom_gateway.http.stack import Layer
from inferloom_mesh.access_line import CANCELLED, AccessLine, address, error_name
from inferloom_mesh.call_observer import CallObserver, SeenCall, trace_id_of
from inferloom_mesh.errors import InferloomError
from inferloom_mesh.log_format import ACCESS, write_access
from inferloom_mesh.trace_context import trace_id

QUIET = frozenset({"/health", "/health/live", "/health/ready", "/ping", "/metrics"})
"""Paths that machines ask for all day: their lines have level DEBUG."""

_GENERATES = "generate"

log = logging.getLogger(ACCESS)


class RestLog(Layer):
    """Writes the lines of the REST door."""

    def end(self, exchange: Exchange) -> None:
        """Write one."""
        write_access(log, logging.DEBUG if exchange.path in QUIET else logging.INFO, rest_line(exchange))

    def refused(self, error: InferloomError, client: tuple[str, int] | None) -> None:
        """Write the line of what never became a request."""
        where = f"{client[0]}:{client[1]}" if client is not None else ""
        write_access(
            log,
            logging.INFO,
            AccessLine(door="rest", method="-", status=error.row.http, error=error_name(error), client=where),
        )


class GrpcLog(CallObserver):
    """Writes the lines of the gRPC door."""

    def ended(self, call: SeenCall) -> None:
        """Write one."""
        write_access(log, logging.INFO, grpc_line(call))


def rest_line(exchange: Exchange) -> AccessLine:
    """The line of a request that came in over HTTP."""
    client, record = exchange.client, exchange.record
    line = AccessLine(
        door=exchange.door,
        method=exchange.method,
        path=exchange.path,
        status=exchange.status,
        error=outcome(exchange),
        request_id=exchange.request_id,
        total=time.monotonic() - exchange.began,
        client=f"{client[0]}:{client[1]}" if client is not None else "",
        key=exchange.identity.key_id,
        trace_id="" if exchange.trace is None else exchange.trace.here.trace_id,
    )
    if exchange.left and line.status is None:
        line.status = CLIENT_CLOSED_REQUEST
    if record is not None:
        _tell(line, record)
    return line


def outcome(exchange: Exchange) -> str:
    """What went wrong with a request over HTTP; empty if nothing did."""
    record = exchange.record
    if exchange.left:
        return CANCELLED
    if exchange.error is not None:
        return error_name(exchange.error)
    if record is None:
        return ""
    return error_name(record.error) or (CANCELLED if record.cancelled else "")


def grpc_line(call: SeenCall) -> AccessLine:
    """The line of a call."""
    record = call.note if isinstance(call.note, Record) else None
    given = getattr(call.request, "request_id", "")
    line = AccessLine(
        door="grpc",
        method=call.method,
        status=call.status,
        error=error_name(call.error) or ("" if call.complete else CANCELLED),
        request_id=given if record is None else record.context.request_id,
        total=time.monotonic() - call.began,
        client=address(call.peer),
        trace_id=trace_id_of(call),
    )
    if record is not None:
        line.key = getattr(record.admission, "key_id", "")
        _tell(line, record)
    return line


def _tell(line: AccessLine, record: Record) -> None:
    """Add what is known of a request to workers."""
    line.model = record.model
    line.worker = record.answered_by or record.worker
    line.attempts = len(record.attempts)
    line.moved = tuple(move.tokens for move in record.moves)
    line.trace_id = line.trace_id or trace_id(record.context.traceparent)
    if not record.attempts:
        return
    line.ttft = record.first_token_s
    if record.prompt_tokens:
        line.prompt_tokens = record.prompt_tokens
        line.cached_tokens = record.cached_prompt_tokens
        line.queue, line.prefill = record.queue_s, record.prefill_s
    if record.method == _GENERATES:
        line.completion_tokens = record.completion_tokens or record.delivered
        line.decode = record.decode_s if record.prompt_tokens else None
