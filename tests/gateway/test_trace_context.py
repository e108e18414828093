"""What a caller says of its trace, and what is said of a span: pure."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from inferloom_mesh.otlp_encoding import (
    LONGEST_TEXT,
    SERVER,
    Value,
    export_request,
    rejected,
    resource_of,
    scope_of,
    span,
)
from inferloom_mesh.otlp_target import TracingError, ratio, resource, target
from inferloom_mesh.trace_context import TraceContext, new_trace, valid_tracestate
from tests.wire.otlp_receiver import seen_span

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (PARENT, True),
        (PARENT[:-1] + "0", False),
        (PARENT[:-2] + "03", True),  # with the bit of random traces
        ("cc" + PARENT[2:], True),  # a version to come is read as this one
        ("cc" + PARENT[2:] + "-more", True),
    ],
)
def test_a_trace_is_read_and_told_as_this_version(text: str, sampled: bool) -> None:
    """As its standard has it."""
    read = TraceContext.read(text)
    assert read is not None
    assert (read.trace_id, read.span_id, read.sampled) == (TRACE, SPAN, sampled)
    assert read.parent == f"00-{TRACE}-{SPAN}-0{int(sampled)}"


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", PARENT.upper(), PARENT + "-more", "ff" + PARENT[2:], "cc" + PARENT[2:] + "more"),
        *(PARENT.replace(TRACE, "0" * 32), PARENT.replace(SPAN, "0" * 16), PARENT[:-1], " " + PARENT),
    ],
)
def test_a_malformed_trace_is_none(text: str | None) -> None:
    """As its standard has it."""
    assert TraceContext.read(text) is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        *((None, ""), ("a=1", "a=1"), ("a=1, b@c=x y ,,", "a=1,b@c=x y"), ("1t@s=v", "1t@s=v")),
        *(("a=1,a=2", ""), ("A=1", ""), ("a", ""), ("a=\t", ""), ("a=b=c", ""), ("1a=v", "")),
        (",".join(f"k{n}=v" for n in range(33)), ""),
        (",".join(f"k{n}={'v' * 200}" for n in range(3)), ",".join(f"k{n}={'v' * 200}" for n in range(2))),
    ],
)
def test_a_state_is_passed_on_or_left_out(text: str | None, kept: str) -> None:
    """Whole members, 512 characters of them; what is malformed says nothing."""
    assert valid_tracestate(text) == kept


def test_names_of_spans_are_new_each_time() -> None:
    """And no name is nothing but zeros."""
    made = [new_trace(sampled=True) for _ in range(100)]
    assert len({one.trace_id for one in made} | {one.span_id for one in made}) == 200
    assert all(TraceContext.read(one.parent) == one for one in made)
    assert made[0].child().trace_id == made[0].trace_id
    assert made[0].child().span_id != made[0].span_id


VALUES = st.one_of(
    st.text(max_size=40),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(st.text(max_size=10), max_size=3).map(tuple),
)
ATTRIBUTES = st.dictionaries(st.text(max_size=20), VALUES, max_size=6)
MOMENT = st.integers(0, 2**63)


@given(
    attributes=ATTRIBUTES,
    more=ATTRIBUTES,
    times=st.tuples(MOMENT, MOMENT),
    name=st.text(max_size=2000),
    error=st.booleans(),
    parent=st.sampled_from(["", SPAN]),
    link=st.sampled_from(["", SPAN]),
    state=st.sampled_from(["", "a=1"]),
)
def test_spans_are_opentelemetrys(
    attributes: dict[str, Value],
    more: dict[str, Value],
    times: tuple[int, int],
    name: str,
    error: bool,
    parent: str,
    link: str,
    state: str,
) -> None:
    """Whatever is said of one, OpenTelemetry's own messages have it."""
    made = span(
        name,
        SERVER,
        (TRACE, "1" * 16, parent),
        times,
        attributes,
        {f"own.{key}": value for key, value in more.items() if f"own.{key}" not in attributes},
        error=error,
        state=state,
        events=[("it happened", times[0], more)],
        link=link,
    )
    message = export_request(resource_of({"service.name": "here"}), scope_of("inferloom", "1"), [made, made])
    read = ExportTraceServiceRequest.FromString(message)
    assert len(read.resource_spans) == len(read.resource_spans[0].scope_spans) == 1
    assert read.resource_spans[0].scope_spans[0].scope.version == "1"
    first, second = read.resource_spans[0].scope_spans[0].spans
    assert first == second
    seen = seen_span("here", first)
    assert (seen.name, seen.kind, seen.trace_id, seen.span_id) == (name[:LONGEST_TEXT], 2, TRACE, "1" * 16)
    assert (seen.parent_id, seen.begin, seen.end, seen.failed) == (parent, *times, error)
    assert (seen.state, seen.links) == (state, (link,) if link else ())
    told = {key: list(value) if isinstance(value, tuple) else value for key, value in more.items()}
    assert seen.events == (("it happened", times[0], told),)
    assert {**told, **seen.attributes}.keys() >= attributes.keys()
    for key, value in attributes.items():
        assert seen.attributes[key] == (list(value) if isinstance(value, tuple) else value)
    assert first.flags == 1


def test_what_was_not_taken_is_read_of_an_answer() -> None:
    """And nothing of an answer that says nothing, or nonsense."""
    part = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=300))
    assert rejected(part.SerializeToString()) == 300
    assert rejected(ExportTraceServiceResponse().SerializeToString()) == 0
    for nonsense in (b"\x0a", b"\x0a\x08", b"\x0a\x02\x08", b"<html>", b"\x0a" + b"\xff" * 20):
        assert rejected(nonsense) == 0


@pytest.mark.parametrize(
    ("endpoint", "environment", "protocol", "url"),
    [
        ("http://c:4318", {}, "http/protobuf", "http://c:4318/v1/traces"),
        ("http://c:4317", {}, "grpc", "c:4317"),
        ("c:4317", {}, "grpc", "c:4317"),
        ("https://c/base/", {}, "http/protobuf", "https://c/base/v1/traces"),
        (None, {"ENDPOINT": "http://[::1]:4317"}, "grpc", "[::1]:4317"),
        (None, {"ENDPOINT": "http://c:9", "PROTOCOL": "grpc"}, "grpc", "c:9"),
        (
            None,
            {"ENDPOINT": "http://c:9", "TRACES_ENDPOINT": "http://t:9/x"},
            "http/protobuf",
            "http://t:9/x",
        ),
        ("http://user:pw@c:4318", {}, "http/protobuf", "http://c:4318/v1/traces"),
    ],
)
def test_where_traces_go(endpoint: str | None, environment: dict[str, str], protocol: str, url: str) -> None:
    """Our setting comes before OpenTelemetry's variables; a password is shown to nobody."""
    found = target(endpoint, {f"OTEL_EXPORTER_OTLP_{key}": value for key, value in environment.items()})
    assert found is not None
    assert (found.protocol, found.url) == (protocol, url)
    assert "pw" not in found.shown


def test_traces_go_nowhere_unless_somebody_says_where() -> None:
    """And where they are switched off as OpenTelemetry's variables have it."""
    assert target(None, {}) is None
    assert target("http://c:4318", {"OTEL_SDK_DISABLED": "true"}) is None
    assert target("http://c:4318", {"OTEL_TRACES_EXPORTER": "none"}) is None


@pytest.mark.parametrize(
    ("endpoint", "name", "value"),
    [
        *(("ftp://c", "", ""), ("http://", "", ""), ("http://c:99999", "", "")),
        ("http://c", "OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("http://c", "OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("http://c", "OTEL_EXPORTER_OTLP_HEADERS", "nonsense"),
        ("http://c", "OTEL_EXPORTER_OTLP_HEADERS", "a=b%0d%0ac"),
    ],
)
def test_what_cannot_be_is_refused_by_name(endpoint: str, name: str, value: str) -> None:
    """Before the service listens; what may be a secret is not told."""
    with pytest.raises(TracingError, match=name or "no address") as told:
        target(endpoint, {name: value} if name else {})
    assert "nonsense" not in str(told.value)


def test_a_file_that_is_missing_is_named() -> None:
    """Before anything is sent without it."""
    with pytest.raises(TracingError, match="/nowhere"):
        target("https://c", {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere"})


def test_headers_and_files_come_from_the_environment(tmp_path: Path) -> None:
    """Percent-decoded, as OpenTelemetry has them."""
    (tmp_path / "ca").touch()
    environment = {
        "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Basic%20abc, x-scope=me",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "ca"),
    }
    found = target("https://c:4317", environment)
    assert found is not None
    assert found.headers == (("authorization", "Basic abc"), ("x-scope", "me"))
    assert (found.tls, found.authority) == (True, tmp_path / "ca")


def test_a_process_is_described_as_the_environment_says() -> None:
    """OpenTelemetry's variables come first."""
    assert resource("here", "1", {}) == {"service.name": "here", "service.version": "1"}
    told = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=no,zone=a%20b,x", "OTEL_SERVICE_NAME": "mine"}
    assert resource("here", "1", told) == {"service.name": "mine", "service.version": "1", "zone": "a b"}


@pytest.mark.parametrize(
    ("given", "environment", "part"),
    [
        *((None, {}, 1.0), (0.25, {"OTEL_TRACES_SAMPLER": "always_off"}, 0.25)),
        (None, {"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, 0.0),
        (None, {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}, 0.1),
    ],
)
def test_which_part_is_traced(given: float | None, environment: dict[str, str], part: float) -> None:
    """Our setting, or the standard sampler."""
    assert ratio(given, environment) == part


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_TRACES_SAMPLER": "jaeger_remote"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "most"},
    ],
)
def test_a_sampler_that_is_not_known_is_refused(environment: dict[str, str]) -> None:
    """Rather than to trace all, or nothing."""
    with pytest.raises(TracingError, match="OTEL_TRACES_SAMPLER"):
        ratio(None, environment)
