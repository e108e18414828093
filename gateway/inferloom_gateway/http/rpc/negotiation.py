"""Which protocol a request speaks."""

from collections.abc import Mapping
from urllib.parse import parse_qs

from inferloom_gateway.contract.method import Method
from inferloom_gateway.http.rpc import connect, grpc_web
from inferloom_gateway.http.rpc.codec import CODECS
from inferloom_gateway.http.rpc.connect import ConnectGet, ConnectStream, ConnectUnary
from inferloom_gateway.http.rpc.grpc_web import GrpcWeb
from inferloom_gateway.http.rpc.wire import Wire
from inferloom_mesh.errors import InferloomError, Reason, shown


def wire_of(method: Method, verb: str, query: str, headers: Mapping[str, str]) -> Wire:
    """The protocol of a request for ``method``; ``verb`` is HTTP's method.

    Raises:
        InferloomError: METHOD_NOT_ALLOWED or UNSUPPORTED_MEDIA_TYPE: it speaks none.
    """
    if verb == "GET" and verb in verbs(method):
        asked = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
        if codec := CODECS.get(asked.get("encoding", "")):
            return ConnectGet(codec, asked, headers)
        message = f"The query's encoding must be one of {', '.join(CODECS)}."
        raise InferloomError(Reason.UNSUPPORTED_MEDIA_TYPE, message)
    if verb != "POST":
        message = f"{method.name} is called by {' and '.join(verbs(method))}."
        raise InferloomError(Reason.METHOD_NOT_ALLOWED, message)
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    kind, _, form = media.partition("+")
    if kind in (grpc_web.BINARY, grpc_web.TEXT) and (codec := CODECS.get(form or "proto")):
        return GrpcWeb(codec, headers, text=kind == grpc_web.TEXT)
    streamed = media.startswith(connect.STREAM)
    codec = CODECS.get(media.removeprefix(connect.STREAM if streamed else connect.UNARY))
    if codec is not None and streamed is method.streams and media.startswith(connect.UNARY):
        return (ConnectStream if streamed else ConnectUnary)(codec, headers)
    raise InferloomError(Reason.UNSUPPORTED_MEDIA_TYPE, _hint(method, media))


def verbs(method: Method) -> tuple[str, ...]:
    """The methods of HTTP that it is called by."""
    return ("POST", "GET") if method.reads and not method.streams else ("POST",)


def media_types(method: Method) -> str:
    """What :func:`wire_of` takes, as ``Accept-Post`` says it."""
    prefix = connect.STREAM if method.streams else connect.UNARY
    return ", ".join([*(prefix + name for name in CODECS), grpc_web.BINARY, grpc_web.TEXT])


def _hint(method: Method, media: str) -> str:
    message = f"{method.name} takes {media_types(method)}, not {shown(media)!r}."
    if media.partition("+")[0] == "application/grpc":
        message += " gRPC needs HTTP/2, which the gateway speaks on its gRPC port."
    return message
