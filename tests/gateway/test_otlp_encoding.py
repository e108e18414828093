"""What is kept of spans for the next ones does not grow with what callers write."""

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from inferloom_mesh import otlp_encoding
from inferloom_mesh.otlp_encoding import (
    LONGEST_TEXT,
    MOST_TEXTS,
    SERVER,
    export_request,
    resource_of,
    scope_of,
    span,
)

LONG = "m" * (LONGEST_TEXT + 1)


def test_long_texts_are_cut_before_they_are_kept() -> None:
    """Texts that are alike up to there are kept once, and as they are sent."""
    for kept in (otlp_encoding._kept, otlp_encoding._kept_text, otlp_encoding._head):
        kept.cache_clear()
    made = [
        span(
            LONG + tail,
            SERVER,
            ("0" * 32, "1" * 16, ""),
            (1, 2),
            {"model": LONG + tail, "models": (LONG + tail,) * (MOST_TEXTS + 1)},
            {},
            events=[(LONG + tail, 1, {"more": LONG + tail})],
        )
        for tail in ("a", "b" * 1_000_000)
    ]
    assert made[0] == made[1]
    assert otlp_encoding._kept.cache_info().currsize == 3
    assert otlp_encoding._head.cache_info().currsize == 1
    request = ExportTraceServiceRequest.FromString(
        export_request(resource_of({}), scope_of("a", "1"), made[:1])
    )
    (read,) = request.resource_spans[0].scope_spans[0].spans
    assert len(read.name) == len(read.events[0].name) == LONGEST_TEXT
    assert len(read.attributes[0].value.string_value) == LONGEST_TEXT
    texts = read.attributes[1].value.array_value.values
    assert [len(each.string_value) for each in texts] == [LONGEST_TEXT] * MOST_TEXTS
