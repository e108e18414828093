"""The worker's spans: one for each call that is traced, and one for each of its phases.

They are made when a call ends, of what :class:`~inferloom_worker.observe.meters.Meters` has noted of it and
of what the engine has measured.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.access_line import CANCELLED, error_name
from inferloom_mesh.call_observer import CallObserver, SeenCall
from inferloom_mesh.context import KEY, read_context, traced
from inferloom_mesh.durations import seconds
from inferloom_mesh.otlp_encoding import INTERNAL, SERVER, Attributes, Value
from inferloom_mesh.trace_context import OpenSpan, new_span_id
from inferloom_mesh.tracer import Tracer
from inferloom_worker.observe.access_log import QUIET


class Spans(CallObserver):
    """Makes them.

    Args:
        tracer: Decides which are kept.
        worker: Gives the worker's name.
        clock: Monotonic seconds, those of calls.
    """

    def __init__(
        self, tracer: Tracer, worker: Callable[[], str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tracer = tracer
        self._worker = worker
        self._clock = clock

    def began(self, call: SeenCall, context: grpc.aio.ServicerContext[Any, Any] | None) -> None:
        """Open one. A gateway's word decides; a trace may begin here for who calls without one."""
        if call.method in QUIET:
            return
        if context is not None:
            call.context = read_context(context, getattr(call.request, "request_id", ""))
            metadata = context.invocation_metadata() or ()
            if not any(key == KEY for key, _ in metadata):
                call.trace = self._tracer.begin(traced(metadata))
                return
        if call.context is not None:
            call.trace = self._tracer.under(call.context.traceparent, call.context.tracestate)

    def ended(self, call: SeenCall) -> None:
        """Close it, with its phases."""
        span = call.trace
        if span is None:
            return
        ended, name = self._clock(), f"{call.service}/{call.method}"
        error = error_name(call.error) or ("" if call.complete else CANCELLED)
        known: dict[str, Value] = {
            "rpc.system.name": "grpc",
            "rpc.method": name,
            "rpc.response.status_code": call.status,
            "gen_ai.request.model": getattr(call.request, "model", ""),
            "inferloom.worker": self._worker(),
        }
        if error:
            known["error.type"] = error
        export, state = self._tracer.export, span.here.state
        first: list[tuple[str, float, Attributes]] = []
        if call.first_s is not None:
            first.append(("inferloom.first_token", call.began + call.first_s, {}))
        export.add(
            name,
            SERVER,
            span.at,
            (call.began, ended),
            known,
            own={"inferloom.request_id": call.context.request_id if call.context is not None else ""},
            error=call.error is not None and call.error.row.http >= 500,
            state=state,
            events=first,
        )
        for phase, begin, end, more in _phases(call, ended):
            export.add(phase, INTERNAL, _under(span), (begin, end), {}, own=more, state=state)


def _under(span: OpenSpan) -> tuple[str, str, str]:
    return span.under(new_span_id())


def _phases(call: SeenCall, ended: float) -> Iterator[tuple[str, float, float, Attributes]]:
    """What the engine measured of a call: each phase, its beginning and its end, and what it did."""
    last = call.last
    if isinstance(last, pb.GenerateResponse | pb.EmbedResponse):
        if not last.HasField("completed"):
            return
        usage, timings = last.completed.usage, last.completed.timings
    elif isinstance(last, pb.RerankResponse):
        usage, timings = last.usage, last.timings
    else:
        return
    begin = call.accepted_at or call.began
    done: tuple[tuple[str, float, Attributes], ...] = (
        ("queue", seconds(timings.queue), {}),
        (
            "prefill",
            seconds(timings.prefill),
            {
                "inferloom.prompt_tokens": usage.prompt_tokens,
                "inferloom.cached_prompt_tokens": usage.cached_prompt_tokens,
            },
        ),
        ("decode", seconds(timings.decode), {"inferloom.completion_tokens": usage.completion_tokens}),
    )
    for name, length, more in done:
        if name == "decode" and not isinstance(last, pb.GenerateResponse):
            return
        end = min(begin + length, ended)
        yield name, begin, end, more
        begin = end
