"""The link between gateways and workers: frames that no gateway sends."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.duration_pb2 import Duration

from inferloom.v1 import context_pb2
from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import link_pb2 as link
from tests.hostile.cases import field as wire
from tests.hostile.cases import varint
from tests.hostile.messages import INF, NAN, sampling, stopping, text

METHOD = "/inferloom.v1.LinkService/Attach"
GOOD = 999_999
"""The number of the good call behind each case's frames."""

Frame = link.AttachRequest | bytes


@dataclass(frozen=True, slots=True)
class LinkCase:
    """Frames of one stream, and how its calls end. A good call follows, and must be answered wherever the
    stream goes on."""

    name: str
    frames: tuple[Frame, ...]
    ends: Mapping[int, str] = field(default_factory=dict)
    """The reason that each call ends with, ``OK`` if it ends well. What is not here has no end."""
    words: str = ""
    """In the message of an end, or of the stream's status."""
    status: str = "OK"
    """Of the stream: not OK where it is ended for what was sent."""


def start(
    request: Any = None, call: int = 1, events: int = 64, size: int = 2**20, **context: Any
) -> link.StartCall:
    """What begins a call."""
    made = link.StartCall(call=call, events=events, bytes=size, context=context_pb2.CallContext(**context))
    for name in ("generate", "embed", "rerank", "tokenize", "detokenize", "get_tokenizer"):
        if request is not None and made.DESCRIPTOR.fields_by_name[name].message_type is request.DESCRIPTOR:
            getattr(made, name).CopyFrom(request)
    return made


def frame(*starts: link.StartCall, **more: Any) -> link.AttachRequest:
    """A frame."""
    return link.AttachRequest(starts=starts, **more)


def ended(name: str, request: Any, reason: str, words: str = "", **context: Any) -> LinkCase:
    """One call, and the reason that it ends with."""
    return LinkCase(name, (frame(start(request, **context)),), {1: reason}, words)


def stopped(name: str, words: str, *frames: Frame, status: str = "INVALID_ARGUMENT") -> LinkCase:
    """What ends the stream."""
    return LinkCase(name, frames, {}, words, status)


def piece(data: bytes, call: int = 1, index: int = 0, *, last: bool = False) -> link.StartPiece:
    """A part of a start."""
    return link.StartPiece(call=call, index=index, last=last, data=data)


def _large(count: int) -> tuple[link.AttachRequest, ...]:
    """So many pieces of a start that never ends: 256 KiB each."""
    return tuple(frame(pieces=[piece(bytes(2**18), index=index)]) for index in range(count))


INVALID, UNSUPPORTED, NO_MODEL = "INVALID_ARGUMENT", "UNSUPPORTED_PARAMETER", "MODEL_NOT_FOUND"
NO_MESSAGE = "not a valid message"
MANY = 65_537

LINK = (
    ended("a call without a request", None, INVALID, "is required"),
    ended("a request without a model", text(model=""), INVALID, "model"),
    ended("a model that is not there", text(model="no"), NO_MODEL, "no"),
    ended("a model with a line break", text(model="a\n\ndata: x"), NO_MODEL),
    ended("a request without an input", pb.GenerateRequest(model="echo"), INVALID, "One of chat"),
    ended("an empty text", text(""), INVALID, "text"),
    ended("a text over the context", text("x" * 10**5), "CONTEXT_LENGTH_EXCEEDED"),
    ended("a temperature that is no number", sampling(temperature=NAN), INVALID, "temperature"),
    ended("a mass without end", sampling(top_p=INF), INVALID, "top_p"),
    ended("four billion choices", sampling(n=2**32 - 1), INVALID, "n"),
    ended("a bias of a token that is not there", sampling(logit_bias={2**32 - 1: 1}), INVALID, "logit_bias"),
    ended("a stop string that is empty", stopping(stop=[""]), INVALID, "stop"),
    ended("a thousand stop strings", stopping(stop=["a"] * 1000), INVALID, "stop"),
    ended("four billion tokens", stopping(max_tokens=2**32 - 1), "CONTEXT_LENGTH_EXCEEDED"),
    ended(
        "a token out of range",
        pb.GenerateRequest(model="echo", token_ids=pb.TokenIds(ids=[10**9])),
        INVALID,
        "token_ids",
    ),
    ended(
        "a constraint on a model without",
        text(constraint=pb.Constraint(lark="start: start")),
        UNSUPPORTED,
        "constrain",
    ),
    ended("a priority over its bound", text(priority=10**6), INVALID, "priority"),
    ended("a salt that is too long", text(cache_salt="a" * 1000), INVALID, "cache_salt"),
    ended(
        "a chat without a message", pb.GenerateRequest(model="echo", chat=pb.ChatInput()), INVALID, "messages"
    ),
    ended(
        "an embedding of a model that gives none",
        pb.EmbedRequest(model="echo", inputs=[pb.EmbedInput(text="a")]),
        "UNSUPPORTED_TASK",
    ),
    ended(
        "a ranking by a model that ranks nothing",
        pb.RerankRequest(model="echo", query="a", documents=["b"]),
        "UNSUPPORTED_TASK",
    ),
    ended("nothing to tokenise", pb.TokenizeRequest(model="echo"), INVALID, "One of text"),
    ended(
        "a number that stands for no token",
        pb.DetokenizeRequest(model="echo", token_ids=[10**6]),
        INVALID,
        "token_ids",
    ),
    ended("a tokenizer that is a path", pb.GetTokenizerRequest(model="../../etc"), NO_MODEL),
    ended("no time left", text(), "TIMEOUT", "deadline", time_left=Duration()),
    ended("time below zero", text(), "TIMEOUT", "deadline", time_left=Duration(seconds=-5)),
    ended("time for longer than anything lasts", text(), "OK", time_left=Duration(seconds=315_576_000_000)),
    ended(
        "time of nanoseconds that do not fit", text(), "OK", time_left=Duration(seconds=20, nanos=2**31 - 1)
    ),
    ended("a tenant of a megabyte", text(), "OK", tenant="t" * 2**19),
    ended("a share that is no number", text(), "OK", share=NAN),
    ended("a share below zero", text(), "OK", share=-1.0),
    ended("a share without end", text(), "OK", share=INF),
    ended("a cap over all caps", text(priority=100), "OK", priority_cap=2**31 - 1),
    ended("a name of a request with a line break", text(), "OK", request_id="a\r\nx: y"),
    ended("a trace that is none", text(), "OK", traceparent="00-zz"),
    LinkCase("a number twice in a frame", (frame(start(text()), start(text())),), {1: INVALID}, "already"),
    LinkCase("a number of all bits", (frame(start(text(), call=2**64 - 1)),), {2**64 - 1: "OK"}),
    LinkCase("number nought", (frame(start(text(), call=0)),), {0: "OK"}),
    LinkCase("a call that may send nothing", (frame(start(text(), events=0, size=0)),)),
    LinkCase("a call that may send events without bytes", (frame(start(text(), events=100, size=0)),)),
    LinkCase(
        "credit without end",
        (
            frame(start(text(), events=2**32 - 1, size=2**32 - 1)),
            *[frame(credits=[link.Credit(call=1, events=2**32 - 1, bytes=2**32 - 1)] * 100)] * 10,
        ),
        {1: "OK"},
    ),
    LinkCase(
        "credit for what is not there", (frame(credits=[link.Credit(call=7, events=9, bytes=9)] * 1000),)
    ),
    LinkCase("an end of what is not there", (frame(cancels=list(range(2000))),)),
    LinkCase("an end in the frame of the beginning", (frame(start(text()), cancels=[1, 1, 1]),)),
    LinkCase(
        "300 calls in a frame",
        (frame(*(start(pb.TokenizeRequest(model="echo", text="a"), call=n) for n in range(300))),),
        dict.fromkeys(range(300), "OK"),
    ),
    LinkCase(
        "calls without requests, by the thousand",
        (frame(*(link.StartCall(call=n) for n in range(4000))),),
        dict.fromkeys(range(4000), INVALID),
        "is required",
    ),
    LinkCase("empty frames by the thousand", (link.AttachRequest(),) * 1000),
    LinkCase("a megabyte that nobody knows", (wire(1000, b"x" * 2**20),)),
    LinkCase(
        "two requests in one call",
        (
            wire(
                1,
                varint(8)
                + varint(1)
                + wire(3, text().SerializeToString())
                + wire(6, wire(1, b"echo") + wire(2, b"a"))
                + varint(72)
                + varint(64)
                + varint(80)
                + varint(9999),
            ),
        ),
        {1: "OK"},
    ),
    LinkCase(
        "a start in one piece",
        (frame(pieces=[piece(start(text()).SerializeToString(), last=True)]),),
        {1: "OK"},
    ),
    LinkCase(
        "a number that is there already, in pieces",
        (frame(start(text(), events=0), pieces=[piece(start(text()).SerializeToString(), last=True)]),),
        {1: INVALID},
        "already",
    ),
    LinkCase("a start that never ends", (frame(pieces=[piece(b"x")]),)),
    LinkCase(
        "an end amid a start",
        (frame(pieces=[piece(b"x")]), frame(cancels=[1]), frame(start(text()))),
        {1: "OK"},
    ),
    stopped("a second piece without a first", "piece 1", frame(pieces=[piece(b"x", index=1)])),
    stopped("an empty piece", "of 0 bytes", frame(pieces=[piece(b"")])),
    stopped("a piece that is too large", "piece 0", frame(pieces=[piece(b"x" * (2**18 + 1))])),
    stopped("pieces that make no start", "no start", frame(pieces=[piece(b"\xff", last=True)])),
    stopped(
        "a piece of another start",
        "another call",
        frame(pieces=[piece(start(text(), call=2).SerializeToString(), last=True)]),
    ),
    stopped("a start of over 16 MiB", "a message has over", *_large(65)),
    stopped("starts that never end", "incomplete", frame(pieces=[piece(b"x", call=n) for n in range(5000)])),
    stopped("pieces without end", "pieces", frame(pieces=[link.StartPiece()] * MANY)),
    stopped("bytes that are no frame", NO_MESSAGE, b"\xff\xff\xff"),
    stopped("a frame that is cut", NO_MESSAGE, frame(start(text())).SerializeToString()[:-3]),
    stopped("a model that is no UTF-8", NO_MESSAGE, wire(1, wire(3, wire(1, b"\xc0\x80")))),
    stopped(
        "half of a surrogate in a text",
        NO_MESSAGE,
        wire(1, wire(3, wire(1, b"echo") + wire(4, b"\xed\xa0\x80"))),
    ),
    stopped("groups in groups", NO_MESSAGE, b"\x0b" * 200 + b"\x0c" * 200),
    stopped("a context that is none", NO_MESSAGE, wire(1, wire(2, b"\xff\xff"))),
    stopped("beginnings without end", "starts", frame(*[link.StartCall()] * MANY)),
    stopped("credits without end", "credits", frame(credits=[link.Credit()] * MANY)),
    stopped("ends without end", "cancels", frame(cancels=[0] * MANY)),
    stopped("a frame of 17 MiB", "larger than max", b"x" * (17 * 2**20), status="RESOURCE_EXHAUSTED"),
)
