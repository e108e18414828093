"""The bytes of Connect and gRPC-Web, held to their specifications."""

import base64
import gzip
import json
from codecs import BOM_UTF8
from typing import Any
from urllib.parse import unquote

import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.contract.inference import Inference
from inferloom_gateway.contract.method import Method
from inferloom_gateway.http.rpc import grpc_web
from inferloom_gateway.http.rpc.codec import CODECS
from inferloom_gateway.http.rpc.codes import CONNECT
from inferloom_gateway.http.rpc.connect import ConnectGet, ConnectStream, ConnectUnary
from inferloom_gateway.http.rpc.envelope import envelope, only_message
from inferloom_gateway.http.rpc.grpc_web import GrpcWeb
from inferloom_gateway.http.rpc.negotiation import wire_of
from inferloom_gateway.http.rpc.timeouts import connect_timeout, grpc_timeout
from inferloom_gateway.http.rpc.wire import Wire
from inferloom_mesh.errors import TABLE, InferloomError, Reason, invalid, overloaded

JSON, PROTO = CODECS["json"], CODECS["proto"]
METHODS: dict[str, Method] = {method.name: method for method in Inference.methods}
LIMIT = 1000


def error_of(act: Any) -> InferloomError:
    """What it raises."""
    with pytest.raises(InferloomError) as caught:
        act()
    return caught.value


def test_json_may_begin_with_a_mark_of_byte_order() -> None:
    """As in the bodies of the REST façade."""
    assert JSON.decode(BOM_UTF8 + b'{"model": "m"}', pb.TokenizeRequest) == pb.TokenizeRequest(model="m")


def test_an_envelope_is_flags_length_and_data() -> None:
    """The length in four bytes, the most significant first."""
    assert envelope(b"abc", 2) == b"\x02\x00\x00\x00\x03abc"
    assert envelope(b"x" * 65536)[:5] == b"\x00\x00\x01\x00\x00"


@given(st.binary(max_size=64))
def test_a_frame_holds_what_was_put_in(data: bytes) -> None:
    """Plain, and compressed where a header says how."""
    assert only_message(envelope(data), None, LIMIT) == data
    assert only_message(envelope(gzip.compress(data), 1), "gzip", LIMIT) == data


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", Reason.UNIMPLEMENTED),
        (b"\0", Reason.INVALID_ARGUMENT),
        (b"\0\0\0\0\5abc", Reason.INVALID_ARGUMENT),
        (envelope(b"a") + envelope(b"b"), Reason.UNIMPLEMENTED),
        (envelope(b"a", 1), Reason.INVALID_ARGUMENT),
        (envelope(b"a", 2), Reason.INVALID_ARGUMENT),
        (envelope(b"a", 128), Reason.INVALID_ARGUMENT),
    ],
)
def test_a_body_that_is_no_single_frame_is_refused(raw: bytes, reason: Reason) -> None:
    """None, several, cut ones, and flags that mean nothing."""
    assert error_of(lambda: only_message(raw, None, LIMIT)).reason is reason


@given(st.binary(max_size=40))
def test_any_bytes_are_a_message_or_refused(raw: bytes) -> None:
    """Nothing else is raised, in any protocol."""
    wires: list[Wire] = [
        ConnectUnary(JSON, {"content-encoding": "gzip"}),
        ConnectStream(PROTO, {"connect-content-encoding": "gzip"}),
        GrpcWeb(PROTO, {"grpc-encoding": "gzip"}, text=True),
        GrpcWeb(JSON, {}, text=False),
    ]
    for wire in wires:
        try:
            wire.codec.decode(wire.message(raw, LIMIT), pb.GenerateRequest)
        except InferloomError as error:
            assert error.row.http < 500 or error.reason is Reason.UNIMPLEMENTED  # noqa: PT017


def test_what_unpacks_to_too_much_is_refused() -> None:
    """A compressed message, in each protocol."""
    bomb = gzip.compress(b"x" * (LIMIT + 1))
    wires: list[tuple[Wire, bytes]] = [
        (ConnectUnary(JSON, {"content-encoding": "gzip"}), bomb),
        (ConnectStream(JSON, {"connect-content-encoding": "gzip"}), envelope(bomb, 1)),
        (GrpcWeb(JSON, {"grpc-encoding": "gzip"}, text=False), envelope(bomb, 1)),
    ]
    for wire, raw in wires:
        assert error_of(lambda: wire.message(raw, LIMIT)).reason is Reason.REQUEST_TOO_LARGE  # noqa: B023


@pytest.mark.parametrize(
    "wire",
    [
        ConnectUnary(JSON, {"content-encoding": "br"}),
        ConnectStream(JSON, {"connect-content-encoding": "br"}),
        GrpcWeb(JSON, {"grpc-encoding": "br"}, text=False),
    ],
)
def test_another_compression_is_unimplemented(wire: Wire) -> None:
    """As both protocols ask; what there is, is named."""
    error = error_of(lambda: wire.message(envelope(b"a", 1), LIMIT))
    assert error.row.grpc is StatusCode.UNIMPLEMENTED
    assert "gzip" in error.message


@pytest.mark.parametrize(
    ("value", "seconds"), [("0", 0), ("1500", 1.5), ("9999999999", 9999999.999), (None, None)]
)
def test_connects_timeout(value: str | None, seconds: float | None) -> None:
    """Milliseconds."""
    assert connect_timeout(value) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2H", 7200), ("3M", 180), ("5S", 5), ("250m", 0.25), ("7u", 7e-6), ("0n", 0), (None, None)],
)
def test_grpcs_timeout(value: str | None, seconds: float | None) -> None:
    """A number with its unit."""
    assert grpc_timeout(value) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("value", ["", "-1", "1.5", "1_0", "12345678901", " 1", "1s", "५"])
def test_a_malformed_timeout_is_refused(value: str) -> None:
    """By the header's name."""
    assert "connect-timeout-ms" in error_of(lambda: connect_timeout(value)).message
    assert "grpc-timeout" in error_of(lambda: grpc_timeout(value + "S")).message


def test_every_error_has_a_code_of_connects() -> None:
    """And the HTTP status that goes with it; bad input is never a 5xx, but for what is not implemented."""
    assert {row.grpc for row in TABLE.values()} <= CONNECT.keys()
    assert len({name for name, _ in CONNECT.values()}) == len(CONNECT) == 16


def test_connect_tells_an_error_in_json() -> None:
    """With its details, packed and for people."""
    error = invalid("sampling.top_p", "sampling.top_p must be at most 1.")
    status, headers, body = ConnectUnary(PROTO, {}).refusal(error)
    told = json.loads(body)
    assert (status, headers["content-type"]) == (400, "application/json")
    assert (told["code"], told["message"]) == ("invalid_argument", error.message)
    info, bad = told["details"]
    assert (info["type"], bad["type"]) == ("google.rpc.ErrorInfo", "google.rpc.BadRequest")
    fields = {"fields": "0-14"}
    assert info["debug"] == {"reason": "INVALID_ARGUMENT", "domain": "inferloom", "metadata": fields}
    assert "=" not in info["value"]
    packed = base64.b64decode(bad["value"] + "===")
    assert error_details_pb2.BadRequest.FromString(packed).field_violations[0].field == "sampling.top_p"
    assert ConnectUnary(JSON, {}).refusal(overloaded("Full.", 1.5))[1]["retry-after"] == "2"


def test_connects_streams_end_with_a_frame_of_their_own() -> None:
    """Empty where all went well; the HTTP status of a refused stream is 200."""
    wire = ConnectStream(JSON, {})
    assert wire.end(None) == b"\x02\x00\x00\x00\x02{}"
    status, headers, body = wire.refusal(overloaded("Full."))
    assert (status, headers["content-type"]) == (200, "application/connect+json")
    assert (body[0], len(body) - 5) == (2, int.from_bytes(body[1:5], "big"))
    assert json.loads(body[5:])["error"]["code"] == "unavailable"


def test_grpc_webs_streams_end_with_trailers() -> None:
    """The most significant flag, and lines as in HTTP/1."""
    assert GrpcWeb(PROTO, {}, text=False).end(None) == b"\x80\x00\x00\x00\x10grpc-status: 0\r\n"
    error = InferloomError(Reason.CONTEXT_LENGTH_EXCEEDED, "100% zu lang: ü\r\n🌍", param="text")
    frame = GrpcWeb(PROTO, {}, text=False).end(error)
    lines = dict(line.split(": ", 1) for line in frame[5:].decode("ascii").splitlines())
    assert lines["grpc-status"] == "3"
    assert unquote(lines["grpc-message"]) == error.message
    status = status_pb2.Status.FromString(base64.b64decode(lines["grpc-status-details-bin"] + "==="))
    assert (status.code, status.message, len(status.details)) == (3, error.message, 2)


def test_grpc_webs_refusal_is_trailers_only() -> None:
    """Among the headers, with no body."""
    status, headers, body = GrpcWeb(PROTO, {}, text=True).refusal(overloaded("Full."))
    assert (status, body) == (200, b"")
    assert headers["content-type"] == "application/grpc-web-text+proto"
    assert headers["grpc-status"] == "14"
    assert set(grpc_web.TRAILERS) <= headers.keys()


def test_grpc_webs_text_is_base64_padded_anywhere() -> None:
    """A sender may encode its parts one by one; each part that is sent is padded by itself."""
    wire = GrpcWeb(PROTO, {}, text=True)
    frame = envelope(b"four")
    parts = b"".join(base64.b64encode(frame[at : at + 4]) for at in range(0, len(frame), 4))
    assert wire.message(parts, LIMIT) == b"four"
    assert base64.b64decode(wire.frame(b"four")) == frame
    assert error_of(lambda: wire.message(b"AAA*", LIMIT)).reason is Reason.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("name", "verb", "media", "kind"),
    [
        ("Tokenize", "POST", "application/json", ConnectUnary),
        ("Tokenize", "POST", "Application/JSON; charset=utf-8", ConnectUnary),
        ("Tokenize", "POST", "application/proto", ConnectUnary),
        ("Generate", "POST", "application/connect+json", ConnectStream),
        ("Generate", "POST", "application/connect+proto", ConnectStream),
        ("Generate", "POST", "application/grpc-web", GrpcWeb),
        ("Tokenize", "POST", "application/grpc-web+proto", GrpcWeb),
        ("Tokenize", "POST", "application/grpc-web-text", GrpcWeb),
        ("Tokenize", "POST", "application/grpc-web-text+json", GrpcWeb),
        ("Tokenize", "GET", "", ConnectGet),
    ],
)
def test_the_media_type_names_the_protocol(name: str, verb: str, media: str, kind: type[Wire]) -> None:
    """In any case, with parameters."""
    wire = wire_of(METHODS[name], verb, "encoding=json&message={}", {"content-type": media})
    assert type(wire) is kind


@pytest.mark.parametrize(
    ("name", "verb", "media", "status", "says"),
    [
        ("Generate", "POST", "application/json", 415, "application/connect+json"),
        ("Tokenize", "POST", "application/connect+json", 415, "application/json"),
        ("Tokenize", "POST", "", 415, "application/json"),
        ("Tokenize", "POST", "application/xml", 415, "application/json"),
        ("Generate", "POST", "application/grpc", 415, "gRPC port"),
        ("Generate", "POST", "application/grpc+proto", 415, "gRPC port"),
        ("Generate", "GET", "", 405, "POST"),
        ("Rerank", "GET", "", 405, "POST"),
        ("Tokenize", "PUT", "application/json", 405, "POST and GET"),
    ],
)
def test_what_speaks_no_protocol_is_told_how(
    name: str, verb: str, media: str, status: int, says: str
) -> None:
    """By an HTTP status, and words."""
    error = error_of(lambda: wire_of(METHODS[name], verb, "encoding=json", {"content-type": media}))
    assert error.row.http == status
    assert says in error.message


@pytest.mark.parametrize("padding", ["", "=", "=="])
def test_a_get_holds_its_message_in_the_query(padding: str) -> None:
    """As it is, or in URL-safe base64, padded or not."""
    request = pb.TokenizeRequest(model="m", text="??>>ü")
    packed = base64.urlsafe_b64encode(request.SerializeToString()).decode().rstrip("=") + padding
    wire = ConnectGet(PROTO, {"message": packed, "base64": "1"}, {})
    assert wire.codec.decode(wire.message(b"", LIMIT), pb.TokenizeRequest) == request
    plain = ConnectGet(JSON, {"message": '{"model": "m"}'}, {})
    assert plain.codec.decode(plain.message(b"", LIMIT), pb.TokenizeRequest).model == "m"
    for query in ({}, {"message": "*", "base64": "1"}):
        assert error_of(lambda: ConnectGet(JSON, query, {}).message(b"", LIMIT)).param == "message"  # noqa: B023


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        '{"model": 1}',
        '{"temprature": 1}',
        '{"sampling": {"topP": "NaN!"}}',
        '{"sampling": {"n": 1e400}}',
        '{"sampling": {"n": ' + "9" * 5000 + "}}",
        '{"text": "a", "chat": {}}',
        '{"model": "a", "model": "b"}',
        "[" * 100_000,
        '{"chat": {"template": {"variables": {"a": ' + "[" * 3000 + "]" * 3000 + "}}}}",
        "\ud800",
    ],
)
def test_json_that_is_no_message_is_refused(text: str) -> None:
    """In few words; a field that nobody knows by its name."""
    error = error_of(lambda: JSON.decode(text.encode("utf-8", "surrogatepass"), pb.GenerateRequest))
    assert error.reason is Reason.INVALID_ARGUMENT
    assert len(error.message) <= 700
    if "temprature" in text:
        assert '"temprature"' in error.message
