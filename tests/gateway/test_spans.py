"""The spans that are made of a request at its door and at its workers."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.records import Attempt, Move, Record
from inferloom_gateway.http.exchange import Exchange
from inferloom_gateway.observe.call_spans import CallSpans
from inferloom_gateway.observe.door_spans import GrpcSpans, RestSpans, parent_of
from inferloom_mesh.call_observer import SeenCall
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.trace_context import OpenSpan, new_trace
from inferloom_mesh.tracer import Tracer

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LOST = InferloomError(Reason.WORKER_LOST, "It was lost.")


@dataclass
class Export:
    """Keeps what it is given."""

    spans: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, kind: int, at: Any, times: Any, attributes: Any, **more: Any) -> None:
        """Keep it."""
        self.spans.append({"name": name, "at": at, "times": times, "known": attributes, **more})


@pytest.fixture
def export() -> Export:
    """Where spans go."""
    return Export()


@pytest.fixture
def tracer(export: Export) -> Tracer:
    """One that keeps all."""
    return Tracer(export, 1.0)  # type: ignore[arg-type] # it is only added to


def chat() -> pb.GenerateRequest:
    """A conversation to be gone on with."""
    request = pb.GenerateRequest(model="m", chat=pb.ChatInput(messages=[pb.ChatMessage()]))
    request.sampling.temperature = 0.5
    request.sampling.n = 2
    request.stopping.max_tokens = 9
    return request


def test_a_request_is_a_span_of_the_whole_and_one_an_attempt(export: Export, tracer: Tracer) -> None:
    """By GenAI's names, under its caller's; an attempt that follows a failed one is linked to it."""
    spans = CallSpans(tracer)
    record = Record(CallContext("r", traceparent=PARENT), "generate", "m", 100.0)
    first, second = (
        Attempt("a", 1, (), 0.1, address="10.0.0.1:7100"),
        Attempt("b", 2, (), 0.5, again=True, address="not an address"),
    )
    record.attempts = [first, second]
    spans.on_called(record, first, chat())
    first.error, first.ended_s = LOST, 0.4
    second.after = first.span_id
    spans.on_called(record, second, chat())
    second.accepted_s, record.ended_s, record.first_token_s = 0.6, 2.0, 0.7
    record.prompt_tokens, record.completion_tokens = 11, 12
    record.finish_reasons = [pb.FINISH_REASON_STOP, pb.FINISH_REASON_UNSPECIFIED]
    record.moves = [Move(3, "a", "b", "disconnected", 0.6)]
    spans.on_ended(record)
    whole, one, two = export.spans
    assert whole["name"] == "chat m"
    assert whole["at"][0] == PARENT.split("-")[1]
    assert whole["at"][2] == PARENT.split("-")[2]
    assert whole["times"] == (100.0, 102.0)
    assert whole["known"]["gen_ai.request.temperature"] == 0.5
    assert whole["known"]["gen_ai.request.choice.count"] == 2
    assert whole["known"]["gen_ai.request.max_tokens"] == 9
    assert whole["known"]["gen_ai.usage.output_tokens"] == 12
    assert whole["known"]["gen_ai.response.finish_reasons"] == ("stop", "other")
    assert whole["known"]["inferloom.worker"] == "b"
    assert whole["own"] == {"gen_ai.response.time_to_first_chunk": 0.7}
    [(event, at, more)] = whole["events"]
    assert (event, at, more["error.type"], more["inferloom.tokens"]) == (
        "inferloom.moved",
        100.6,
        "disconnected",
        3,
    )
    assert one["known"]["rpc.response.status_code"] == "UNAVAILABLE"
    assert (one["known"]["server.address"], one["known"]["server.port"]) == ("10.0.0.1", 7100)
    assert one["error"]
    assert not two["error"]
    assert "server.address" not in two["known"]
    assert two["link"] == one["at"][1]
    assert {one["at"][2], two["at"][2]} == {whole["at"][1]}
    assert two["times"] == (100.5, 102.0)


@pytest.mark.parametrize("given", ["", PARENT[:-1] + "0", "nonsense1"])
def test_what_nobody_keeps_costs_no_span(given: str, export: Export, tracer: Tracer) -> None:
    """Because its door did not begin one."""
    spans = CallSpans(tracer)
    record = Record(CallContext("r", traceparent=given), "embed", "m", 0.0)
    attempt = Attempt("a", 1, (), 0.0)
    record.attempts = [attempt]
    spans.on_called(record, attempt, pb.EmbedRequest())
    spans.on_ended(record)
    assert (export.spans, attempt.span_id) == ([], "")


def test_a_rest_request_is_a_span_under_its_callers(export: Export, tracer: Tracer) -> None:
    """The path is its route's, not what is in it; the answer names it."""
    layer = RestSpans(tracer, lambda: 7.0)
    headers = [(b"traceparent", PARENT.encode()), (b"tracestate", b"a=1"), (b"tracestate", b"b=2")]
    exchange = Exchange("GET", "/v1/models/secret", ("10.0.0.9", 1), headers, "r", began=5.0)
    layer.begin(exchange)
    answered: list[tuple[bytes, bytes]] = []
    layer.head(exchange, answered)
    exchange.status = 200
    layer.end(exchange)
    [span] = export.spans
    [(name, value)] = answered
    assert (name, value.split(b"-")[1].decode()) == (b"traceresponse", PARENT.split("-")[1])
    assert span["known"]["http.response.status_code"] == 200
    assert span["known"]["client.address"] == "10.0.0.9"
    assert span["own"]["inferloom.request_id"] == "r"
    assert "secret" not in span["name"]
    assert span["times"] == (5.0, 7.0)
    assert not span["error"]
    assert span["state"] == "a=1,b=2"


def test_a_failed_request_says_so_and_health_is_quiet(export: Export, tracer: Tracer) -> None:
    """Only what is the server's fault is an error of its span; a method that nobody knows is OTHER."""
    layer = RestSpans(tracer, lambda: 1.0, "https")
    quiet = Exchange("GET", "/health", None, [], began=0.0)
    layer.begin(quiet)
    layer.head(quiet, [])
    layer.end(quiet)
    assert export.spans == []
    for status, error in ((503, Reason.NO_WORKER), (400, Reason.INVALID_ARGUMENT)):
        exchange = Exchange("FROB", "/inferloom.v1.InferenceService/Generate", None, [], began=0.0)
        exchange.door, exchange.status, exchange.error = "connect", status, error
        layer.begin(exchange)
        layer.end(exchange)
    bad, refused = export.spans
    assert (bad["error"], refused["error"]) == (True, False)
    assert bad["known"]["http.request.method"] == "_OTHER"
    assert bad["known"]["rpc.system.name"] == "connectrpc"
    assert bad["known"]["url.scheme"] == "https"


def test_a_grpc_call_is_a_span(export: Export, tracer: Tracer) -> None:
    """With its status, its peer and its name."""
    observer = GrpcSpans(tracer, lambda: 3.0)
    call = SeenCall(
        "inferloom.v1.InferenceService",
        "Generate",
        pb.GenerateRequest(request_id="q"),
        "ipv4:1.2.3.4:5",
        began=1.0,
    )
    observer.ended(call)  # of one that is not traced nothing is said
    observer.began(call, None)
    assert export.spans == []
    call.trace = OpenSpan(new_trace(sampled=True))
    call.error = LOST
    observer.ended(call)
    [span] = export.spans
    assert span["name"] == "inferloom.v1.InferenceService/Generate"
    assert span["known"]["rpc.response.status_code"] == "UNAVAILABLE"
    assert span["own"] == {"inferloom.request_id": "q", "network.peer.address": "ipv4:1.2.3.4:5"}
    assert span["error"]


def test_a_request_without_a_trace_has_no_parent() -> None:
    """And one with a broken one neither."""
    assert parent_of(Exchange("GET", "/", None, [])) is None
    assert parent_of(Exchange("GET", "/", None, [(b"traceparent", b"00-zz")])) is None
