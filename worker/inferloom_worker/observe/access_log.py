"""The worker's access log: one line for each call, with the request's name from the gateway."""

import logging
import time
from collections.abc import Callable
from typing import Any

import grpc

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.access_line import CANCELLED, AccessLine, address, error_name
from inferloom_mesh.call_observer import CallObserver, SeenCall, trace_id_of
from inferloom_mesh.context import read_context
from inferloom_mesh.durations import seconds
from inferloom_mesh.log_format import ACCESS, write_access

QUIET = frozenset({"GetStatus"})
"""Methods that machines call all day: their lines have level DEBUG."""

log = logging.getLogger(ACCESS)


class AccessLog(CallObserver):
    """Writes the lines, with what :class:`~inferloom_worker.observe.meters.Meters` has noted of the calls.

    Args:
        worker: Gives the worker's name.
    """

    def __init__(self, worker: Callable[[], str]) -> None:
        self._worker = worker

    def began(self, call: SeenCall, context: grpc.aio.ServicerContext[Any, Any] | None) -> None:
        """Read what the gateway says of the request."""
        if context is not None and call.context is None:
            call.context = read_context(context, getattr(call.request, "request_id", ""))

    def ended(self, call: SeenCall) -> None:
        """Write one."""
        write_access(log, logging.DEBUG if call.method in QUIET else logging.INFO, self._line(call))

    def _line(self, call: SeenCall) -> AccessLine:
        context = call.context
        line = AccessLine(
            door="grpc",
            method=call.method,
            status=call.status,
            error=error_name(call.error) or ("" if call.complete else CANCELLED),
            request_id=context.request_id if context is not None else "",
            model=getattr(call.request, "model", ""),
            worker=self._worker(),
            ttft=call.first_s,
            total=time.monotonic() - call.began,
            trace_id=trace_id_of(call),
            client=address(context.caller if context is not None else call.peer),
        )
        last = call.last
        if isinstance(last, (pb.GenerateResponse, pb.EmbedResponse)) and last.HasField("completed"):
            usage, timings = last.completed.usage, last.completed.timings
            line.prompt_tokens, line.cached_tokens = usage.prompt_tokens, usage.cached_prompt_tokens
            line.queue, line.prefill = seconds(timings.queue), seconds(timings.prefill)
            if isinstance(last, pb.GenerateResponse):
                line.completion_tokens, line.decode = usage.completion_tokens, seconds(timings.decode)
        elif call.tokens:
            line.completion_tokens = call.tokens
        return line
