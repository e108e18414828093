"""Which requests are traced.

A trace that came with a request is kept where its caller keeps it; of those that begin here a part is.
"""

import random
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING

from inferloom_mesh.otlp_target import ratio, target
from inferloom_mesh.settings import ServiceSettings
from inferloom_mesh.trace_context import OpenSpan, TraceContext, new_trace

if TYPE_CHECKING:
    from inferloom_mesh.span_export import SpanExport


class Tracer:
    """Decides, and knows where spans go.

    Args:
        export: Takes them.
        part: Which part of the traces that begin here is kept, from 0 to 1.
    """

    def __init__(self, export: "SpanExport", part: float) -> None:
        self.export = export
        self._part = part

    def begin(self, parent: TraceContext | None) -> OpenSpan | None:
        """Begin a span under ``parent``, or a trace. None: it is not kept."""
        if parent is not None:
            return OpenSpan(parent.child(), parent.span_id) if parent.sampled else None
        if self._part < 1 and random.random() >= self._part:  # noqa: S311 # nothing to foresee
            return None
        return OpenSpan(new_trace(sampled=True))

    @staticmethod
    def under(traceparent: str, tracestate: str) -> OpenSpan | None:
        """Begin a span of a request whose context is given. None: it is not kept."""
        if not traceparent.endswith("1"):
            return None
        parent = TraceContext.read(traceparent, tracestate)
        return None if parent is None else OpenSpan(parent.child(), parent.span_id)


def tracer_of(
    settings: ServiceSettings, service: str, clock: Callable[[], float] = time.monotonic
) -> Tracer | None:
    """The tracer of a service, as its settings and OpenTelemetry's variables say. None: nothing is traced.

    Raises:
        TracingError: They ask for what there is not.
    """
    where = target(settings.otlp_endpoint)
    if where is None:
        return None
    part = ratio(settings.trace_ratio)
    from inferloom_mesh.span_export import SpanExport  # only where it is needed: it is read for a while

    return Tracer(SpanExport(where, service, clock), part)


def sending(tracer: Tracer | None) -> AbstractAsyncContextManager[None]:
    """Have spans sent until the block ends, where there are some."""
    return nullcontext() if tracer is None else tracer.export.running()
