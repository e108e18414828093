"""gRPC-Web, as https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md has it."""

import base64
import binascii
import re
from urllib.parse import quote

from inferloom_gateway.http.rpc.codec import Codec
from inferloom_gateway.http.rpc.envelope import envelope, only_message
from inferloom_gateway.http.rpc.timeouts import grpc_timeout
from inferloom_gateway.http.rpc.wire import Headers, Raw, Wire
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.status import rich_status

BINARY = "application/grpc-web"
TEXT = "application/grpc-web-text"

TRAILERS = STATUS, MESSAGE, DETAILS = "grpc-status", "grpc-message", "grpc-status-details-bin"
"""What tells how a call ended."""

_END = 0b1000_0000
_AS_IT_IS = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
"""What ``grpc-message`` may hold besides what is percent-encoded."""

_PADDED = re.compile(rb"[^=]*={0,2}")


class GrpcWeb(Wire):
    """A call whose trailers are the last frame of the body; with ``text`` all of it in base64.

    A call that failed before any message has its trailers among the response's headers.
    """

    door = "grpc-web"
    coding_header = "grpc-encoding"

    def __init__(self, codec: Codec, headers: Headers, *, text: bool) -> None:
        super().__init__(codec, f"{TEXT if text else BINARY}+{codec.name}", headers)
        self._text = text

    def time_left(self) -> float | None:
        """What ``grpc-timeout`` says."""
        return grpc_timeout(self._headers.get("grpc-timeout"))

    def message(self, raw: Raw, limit: int) -> Raw:
        """The one framed message."""
        return only_message(_from_text(raw) if self._text else raw, self.coding, limit)

    def whole(self, data: bytes) -> bytes:
        """The message's frame and the trailers'."""
        return self._sent(envelope(data) + envelope(_lines(trailers(None)), _END))

    def frame(self, data: bytes) -> bytes:
        """A frame."""
        return self._sent(envelope(data))

    def end(self, error: InferloomError | None) -> bytes:
        """The trailers' frame."""
        return self._sent(envelope(_lines(trailers(error)), _END))

    def refusal(self, error: InferloomError) -> tuple[int, Headers, bytes]:
        """Trailers only."""
        return 200, {"content-type": self.media_type, **trailers(error)}, b""

    def _sent(self, data: bytes) -> bytes:
        return base64.b64encode(data) if self._text else data


def trailers(error: InferloomError | None) -> dict[str, str]:
    """The trailers of a call that ended so; gRPC's own."""
    if error is None:
        return {STATUS: "0"}
    status = rich_status(error)
    return {
        STATUS: str(status.code),
        MESSAGE: quote(status.message, safe=_AS_IT_IS, errors="replace"),
        DETAILS: base64.b64encode(status.SerializeToString()).rstrip(b"=").decode(),
    }


def _lines(headers: Headers) -> bytes:
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items())


def _from_text(raw: Raw) -> bytes:
    """What base64 holds; it may be padded in several places, where the sender's parts met."""
    try:
        return b"".join(base64.b64decode(part, validate=True) for part in _PADDED.findall(raw) if part)
    except binascii.Error:
        raise InferloomError(Reason.INVALID_ARGUMENT, "The body is not valid base64.") from None
