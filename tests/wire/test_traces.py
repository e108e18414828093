"""Traces of requests, from the door to the engine's phases, as a collector gets them."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh import otlp_encoding as kinds
from inferloom_mesh import span_export
from inferloom_mesh.otlp_target import Target, TracingError
from inferloom_mesh.span_export import SpanExport
from tests.gateway.test_metrics import value
from tests.patience import PATIENCE_S, within
from tests.wire.access_lines import access_lines
from tests.wire.echo_mesh import echo_mesh
from tests.wire.gateway_mesh import gateway_mesh
from tests.wire.otlp_receiver import Received, SeenSpan, grpc_receiver, http_receiver
from tests.wire.running_worker import running_worker
from tests.wire.test_gateway_migration import failing, killed, worker

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
SECRET = "tell nobody of this"
CHAT: dict[str, Any] = {"model": "echo", "messages": [{"role": "user", "content": SECRET}]}
GENERATE = "inferloom.v1.InferenceService/Generate"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans do not wait long for others."""
    monkeypatch.setattr(span_export, "DELAY_S", 0.05)


def tree(spans: list[SeenSpan]) -> dict[str, list[str]]:
    """The names of spans under the name of their parent; each began and ended within it."""
    known = {span.span_id: span for span in spans}
    assert len(known) == len(spans)
    found: dict[str, list[str]] = {}
    for span in spans:
        over = known.get(span.parent_id)
        assert span.begin <= span.end
        if over is not None:
            slack = 5_000_000  # each process has its own clock
            assert over.begin - slack <= span.begin
            assert span.end <= over.end + slack
        found.setdefault("" if over is None else over.name, []).append(span.name)
    return {name: sorted(under) for name, under in found.items()}


def named(spans: list[SeenSpan], name: str, kind: int) -> SeenSpan:
    """The one span of a name and a kind."""
    (found,) = (span for span in spans if (span.name, span.kind) == (name, kind))
    return found


@pytest.mark.parametrize("link", ["attach", "call"])
@pytest.mark.parametrize("receiver", [grpc_receiver, http_receiver])
async def test_one_sdk_request_is_one_tree(
    link: str,
    receiver: Callable[[], AbstractAsyncContextManager[Received]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under the caller's span: the door's, the whole, the attempt, the worker's, its phases; by either
    protocol, and however gateway and worker speak with each other."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-scope=mine")
    async with receiver() as received:
        monkeypatch.setenv(
            "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc" if receiver is grpc_receiver else "http/protobuf"
        )
        there: dict[str, Any] = {"otlp_endpoint": received.endpoint}
        with access_lines() as lines:
            async with echo_mesh("echo=echo", gateway={**there, "link": link}, **there) as mesh:
                async with mesh.openai() as client:
                    answer = await client.chat.completions.with_raw_response.create(
                        **CHAT,
                        max_tokens=5,
                        temperature=0.5,
                        extra_headers={
                            "traceparent": PARENT,
                            "tracestate": "a=1,b=2",
                            "x-request-id": "traced",
                        },
                    )
                spans = await received.until(7)
    door = "POST /v1/chat/completions"
    assert tree(spans) == {
        "": [door],
        door: ["chat echo"],
        "chat echo": [GENERATE],
        GENERATE: ["decode", GENERATE, "prefill", "queue"],
    }
    assert {span.trace_id for span in spans} == {TRACE}
    assert {span.state for span in spans} == {"a=1,b=2"}
    assert not any(span.failed for span in spans)
    outer = named(spans, door, kinds.SERVER)
    assert outer.parent_id == SPAN
    assert answer.headers["traceresponse"] == f"00-{TRACE}-{outer.span_id}-01"
    assert outer.attributes["http.response.status_code"] == 200
    assert outer.attributes["http.route"] == outer.attributes["url.path"] == "/v1/chat/completions"
    assert outer.attributes["inferloom.request_id"] == "traced"
    whole = named(spans, "chat echo", kinds.CLIENT).attributes
    usage = answer.parse().usage
    assert usage is not None
    asked = {name: whole[f"gen_ai.request.{name}"] for name in ("model", "max_tokens", "temperature")}
    assert asked == {"model": "echo", "max_tokens": 5, "temperature": 0.5}
    assert whole["gen_ai.operation.name"] == "chat"
    assert whole["gen_ai.usage.input_tokens"] == usage.prompt_tokens
    assert whole["gen_ai.usage.output_tokens"] == usage.completion_tokens == 5
    assert whole["gen_ai.response.finish_reasons"] == ["length"]
    assert 0 < whole["gen_ai.response.time_to_first_chunk"] < 10
    assert (whole["server.address"], whole["server.port"]) == ("127.0.0.1", mesh.workers[0].address.port)
    tried = named(spans, GENERATE, kinds.CLIENT)
    assert [name for name, *_ in tried.events] == ["inferloom.accepted"]
    assert {span.service for span in spans if span.kind != kinds.CLIENT} == {
        "inferloom-gateway",
        "inferloom-worker",
    }
    assert all(headers["x-scope"] == "mine" for headers in received.headers)
    assert not any(SECRET.encode() in message for message in received.raw)
    written = [line["trace_id"] for line in lines.fields if line["request_id"] == "traced"]
    assert written == [TRACE] * 2  # the gateway's and the worker's


async def test_a_stream_that_moves_is_one_tree() -> None:
    """Each attempt has its span, which the one after it names; the move is an event of the whole."""
    dying, other = worker("a"), worker("b")
    dying.script = failing(killed)
    async with (
        http_receiver() as received,
        gateway_mesh(dying, other, otlp_endpoint=received.endpoint) as mesh,
    ):
        async with mesh.openai() as client:
            stream = await client.chat.completions.create(
                model="chat-model", messages=[{"role": "user", "content": "Hi"}], stream=True
            )
            text = "".join([each.choices[0].delta.content or "" async for each in stream if each.choices])
            assert text == "Once upon a time."
        spans = await received.until(3)
    tries = [span for span in spans if span.name == GENERATE]
    whole = named(spans, "chat chat-model", kinds.CLIENT)
    if len(tries) == 2:  # the dying one was asked first
        first, second = tries
        assert (first.failed, second.failed) == (True, False)
        assert first.attributes["error.type"] == "worker_lost"
        assert second.links == (first.span_id,)
        ((name, _, more),) = whole.events
        assert (name, more) == ("inferloom.moved", {"inferloom.tokens": 2})
    assert {span.parent_id for span in tries} == {whole.span_id}
    assert not whole.failed


async def test_each_door_reads_and_tells_the_trace() -> None:
    """gRPC and Connect have it too, and a worker that is called directly."""
    asked = pb.GenerateRequest(model="echo", text=SECRET)
    asked.stopping.max_tokens = 2
    async with http_receiver() as received:
        where = received.endpoint
        async with echo_mesh("echo=echo", gateway={"otlp_endpoint": where}) as mesh:
            async for _ in mesh.stub.Generate(
                asked, metadata=(("traceparent", PARENT), ("tracestate", "a=1"))
            ):
                pass
            spans = await received.until(3)
            assert tree(spans) == {
                "": [GENERATE],
                GENERATE: ["text_completion echo"],
                "text_completion echo": [GENERATE],
            }
            assert {(span.trace_id, span.state) for span in spans} == {(TRACE, "a=1")}
            received.spans.clear()
            headers = {"traceparent": PARENT, "content-type": "application/json"}
            path = "/inferloom.v1.InferenceService/Tokenize"
            await mesh.http.post(path, content=b'{"model":"echo","text":"a"}', headers=headers)
            names = [span.name for span in await received.until(3)]
            assert names == [f"POST {path}", "tokenize echo", path[1:]]
        received.spans.clear()
        async with running_worker("echo=echo", otlp_endpoint=where) as alone:
            call = alone.stub.Generate(asked, metadata=(("traceparent", PARENT),))
            async for _ in call:
                pass
            spans = await received.until(4)
            assert (spans[0].name, spans[0].parent_id, spans[0].trace_id) == (GENERATE, SPAN, TRACE)
            assert {span.name for span in spans[1:]} == {"queue", "prefill", "decode"}


async def test_what_is_not_sampled_is_passed_on_and_leaves_no_span() -> None:
    """Its maker decides; of what begins here, as many are kept as was said."""
    dropped = {"traceparent": PARENT[:-1] + "0"}
    async with http_receiver() as received:
        there: dict[str, Any] = {"otlp_endpoint": received.endpoint, "trace_ratio": 0.0}
        async with echo_mesh("echo=echo", gateway=there, **there) as mesh:
            for headers in ({}, dropped, {"traceparent": "nonsense"}, {"traceparent": PARENT}):
                answer = await mesh.http.post("/v1/chat/completions", json=CHAT, headers=headers)
                assert answer.status_code == 200
                assert ("traceresponse" in answer.headers) == (headers.get("traceparent") == PARENT)
            await received.until(7)
    assert {span.trace_id for span in received.spans} == {TRACE}
    assert len(received.spans) == 7


async def test_what_no_worker_saw_has_its_span_too() -> None:
    """With why; health is asked for all day and has none."""
    async with (
        http_receiver() as received,
        echo_mesh("echo=echo", gateway={"otlp_endpoint": received.endpoint}) as mesh,
    ):
        await mesh.http.get("/health")
        await mesh.http.post("/v1/chat/completions", json={**CHAT, "max_tokens": "x"})
        await mesh.http.get("/v1/models/echo")
        await mesh.http.get("/v1/no/such/path")
        spans = await received.until(3)
    found = {(span.name, span.attributes.get("error.type"), span.failed) for span in spans}
    assert found == {
        ("POST /v1/chat/completions", "invalid_argument", False),
        ("GET /v1/models/{model}", None, False),
        ("GET", "not_found", False),
    }


async def closing(export: SpanExport, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run something while spans are sent."""
    async with export.running():
        await work()


def some(export: SpanExport, count: int) -> None:
    """Give it spans."""
    for _ in range(count):
        export.add("a", kinds.SERVER, (TRACE, SPAN, ""), (0.0, 0.0), {})


async def test_a_dead_collector_costs_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Requests go on, and the service ends in time."""
    caplog.set_level(logging.INFO)
    there = {"otlp_endpoint": "http://127.0.0.1:9"}
    async with echo_mesh("echo=echo", gateway=there) as mesh:
        for _ in range(5):
            assert (await mesh.http.post("/v1/chat/completions", json=CHAT)).status_code == 200
            await asyncio.sleep(0.1)
        metrics = (await mesh.http.get("/metrics")).content
        assert value(metrics, "inferloom_spans_total", outcome="sent") == 0
    told = [record.getMessage() for record in caplog.records if "traces" in record.getMessage()]
    assert len(told) == 1
    assert told[0].startswith("traces do not get to 127.0.0.1:9: ")


async def test_a_collector_that_comes_back_gets_what_waited(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it refuses for now is sent again, in one piece; what it refuses for good is lost and counted."""
    caplog.set_level(logging.INFO)
    answers = iter([503, 429, 200, 400, 200])
    async with http_receiver(lambda: next(answers)) as received:
        export = SpanExport(Target("http/protobuf", f"{received.endpoint}/v1/traces", "it"), "test")

        async def work() -> None:
            some(export, 3)
            await received.until(3)
            assert export.lost == 0
            some(export, 2)
            async with asyncio.timeout(PATIENCE_S):
                while not export.lost:  # noqa: ASYNC110 # it tells nobody
                    await asyncio.sleep(0.02)
            some(export, 1)

        await closing(export, work)
        assert (len(received.spans), export.lost) == (4, 2)  # the last one when it ended
    assert [record.levelname for record in caplog.records if "traces" in record.getMessage()][:2] == [
        "WARNING",
        "INFO",
    ]


async def test_a_collector_that_hangs_holds_up_nobody() -> None:
    """What waits is bounded, the rest is lost and counted, and the end does not wait for it."""

    over = asyncio.Event()

    async def hang() -> None:
        await over.wait()

    async with http_receiver(before=hang) as received:
        export = SpanExport(Target("http/protobuf", f"{received.endpoint}/v1/traces", "it"), "test")

        async def work() -> None:
            some(export, 1)
            async with asyncio.timeout(PATIENCE_S):
                while export.waiting:  # noqa: ASYNC110 # it tells nobody
                    await asyncio.sleep(0.02)
            some(export, span_export.MOST + 10)
            assert (export.waiting, export.lost) == (span_export.MOST, 10)

        async with within(span_export.CLOSING_S + 2):
            await closing(export, work)
        assert export.lost == span_export.MOST + 11
        over.set()
        await asyncio.sleep(0.1)  # its connection ends


async def test_a_gateway_that_cannot_trace_as_asked_does_not_start() -> None:
    """Rather than to run without."""
    from inferloom_mesh.tracer import tracer_of

    with pytest.raises(TracingError, match="no address"):
        tracer_of(GatewaySettings(otlp_endpoint="ftp://somewhere"), "inferloom-gateway")
