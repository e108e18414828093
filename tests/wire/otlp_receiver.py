"""A receiver of traces for tests, by both of OTLP's protocols, in OpenTelemetry's own messages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from inferloom_mesh.otlp_sending import EXPORT
from tests.patience import until_async

QUIET = frozenset({"GET /v1/models"})
"""What tests ask a mesh before they begin."""


@dataclass(frozen=True)
class SeenSpan:
    """A span that came."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    begin: int
    end: int
    attributes: dict[str, Any]
    events: tuple[tuple[str, int, dict[str, Any]], ...]
    links: tuple[str, ...]
    failed: bool
    state: str


def value_of(value: AnyValue) -> Any:
    """A value of an attribute."""
    kind = value.WhichOneof("value")
    assert kind is not None
    if kind == "array_value":
        return [value_of(each) for each in value.array_value.values]
    return getattr(value, kind)


def attributes_of(pairs: Any) -> dict[str, Any]:
    """Attributes; none comes twice."""
    found: list[KeyValue] = list(pairs)
    made = {pair.key: value_of(pair.value) for pair in found}
    assert len(made) == len(found)
    return made


def seen_span(service: str, span: Span) -> SeenSpan:
    """A span, read."""
    return SeenSpan(
        service,
        span.name,
        span.kind,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        attributes_of(span.attributes),
        tuple((each.name, each.time_unix_nano, attributes_of(each.attributes)) for each in span.events),
        tuple(each.span_id.hex() for each in span.links),
        span.status.code == span.status.STATUS_CODE_ERROR,
        span.trace_state,
    )


@dataclass
class Received:
    """What came so far."""

    endpoint: str
    spans: list[SeenSpan] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    def take(self, message: bytes, headers: dict[str, str]) -> bytes:
        """Take a message; return the answer to it."""
        self.raw.append(message)
        self.headers.append(headers)
        for each in ExportTraceServiceRequest.FromString(message).resource_spans:
            resource = attributes_of(each.resource.attributes)
            self.resources.append(resource)
            for scoped in each.scope_spans:
                assert scoped.scope.name == "inferloom"
                spans = [seen_span(resource["service.name"], span) for span in scoped.spans]
                self.spans += [span for span in spans if span.name not in QUIET]
        return ExportTraceServiceResponse().SerializeToString()

    async def until(self, count: int) -> list[SeenSpan]:
        """Wait for so many spans, and return them in the order in which they began."""
        await until_async(lambda: self.spans, f"{count} spans", lambda spans: len(spans) >= count)
        return sorted(self.spans, key=lambda span: (span.begin, -span.end))


@asynccontextmanager
async def grpc_receiver() -> AsyncIterator[Received]:
    """Receive by gRPC until the block ends."""
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    received = Received(f"http://127.0.0.1:{port}")

    async def export(message: bytes, context: Any) -> bytes:
        return received.take(message, dict(context.invocation_metadata()))

    service, method = EXPORT.lstrip("/").split("/")
    handlers: dict[str, Any] = {method: grpc.unary_unary_rpc_method_handler(export)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    await server.start()
    try:
        yield received
    finally:
        await server.stop(0)


@asynccontextmanager
async def http_receiver(
    status: Callable[[], int] = lambda: 200, before: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[Received]:
    """Receive by HTTP until the block ends, and answer with what ``status`` gives, after ``before``."""
    received = Received("")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        if before is not None:
            await before()
        code, said = status(), b""
        if code == 200:
            assert head[0] == "POST /v1/traces HTTP/1.1"
            assert headers["content-type"] == "application/x-protobuf"
            said = received.take(body, headers)
        writer.write(
            b"HTTP/1.1 %d x\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (code, len(said)) + said
        )
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    received.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield received
