"""The Connect protocol, as https://connectrpc.com/docs/protocol has it."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson
from google.protobuf import json_format

from inferloom_gateway.http.content_encoding import decoded
from inferloom_gateway.http.errors import advice
from inferloom_gateway.http.rpc.codec import Codec
from inferloom_gateway.http.rpc.codes import CONNECT
from inferloom_gateway.http.rpc.envelope import envelope, only_message
from inferloom_gateway.http.rpc.timeouts import connect_timeout
from inferloom_gateway.http.rpc.wire import Headers, Raw, Wire
from inferloom_mesh.errors import InferloomError, Reason, invalid, shown
from inferloom_mesh.status import rich_status

UNARY = "application/"
STREAM = "application/connect+"
_END = 0b10


class Connect(Wire):
    """What calls with one response and streams have in common."""

    door = "connect"

    def time_left(self) -> float | None:
        """What ``connect-timeout-ms`` says, in the one version of the protocol."""
        version = self._headers.get("connect-protocol-version", "1")
        if version != "1":
            message = f"The header connect-protocol-version is {shown(version)!r}; only 1 is spoken here."
            raise InferloomError(Reason.INVALID_ARGUMENT, message)
        return connect_timeout(self._headers.get("connect-timeout-ms"))

    def frame(self, data: bytes) -> bytes:
        """An enveloped message."""
        return envelope(data)

    def end(self, error: InferloomError | None) -> bytes:
        """The end of a stream: a JSON object, with the error if there was one."""
        return envelope(orjson.dumps({} if error is None else {"error": described(error)}), _END)


class ConnectUnary(Connect):
    """A call with one response: message and response are bodies, and the HTTP status tells of an error."""

    coding_header = "content-encoding"

    def __init__(self, codec: Codec, headers: Headers) -> None:
        super().__init__(codec, UNARY + codec.name, headers)

    def message(self, raw: Raw, limit: int) -> Raw:
        """The body."""
        return raw if (coding := self.coding) is None else decoded(raw, coding, limit)

    def whole(self, data: bytes) -> bytes:
        """The message as it is."""
        return data

    def refusal(self, error: InferloomError) -> tuple[int, Headers, bytes]:
        """A JSON object, whatever the form of messages is."""
        headers = {"content-type": "application/json", **advice(error)}
        return CONNECT[error.row.grpc][1], headers, orjson.dumps(described(error))


class ConnectGet(ConnectUnary):
    """A call without side effects whose message is in the query of a GET request."""

    def __init__(self, codec: Codec, query: Mapping[str, str], headers: Headers) -> None:
        super().__init__(codec, {**headers, self.coding_header: query.get("compression", "")})
        self._query = query

    def message(self, raw: Raw, limit: int) -> Raw:
        """The query's."""
        text = self._query.get("message")
        if text is None:
            raise invalid("message", "message is missing from the query.")
        data = text.encode()
        if self._query.get("base64") == "1":
            data = _from_base64(data)
        return super().message(data, limit)


class ConnectStream(Connect):
    """A call with a stream of responses. The HTTP status is 200, whatever becomes of it."""

    coding_header = "connect-content-encoding"

    def __init__(self, codec: Codec, headers: Headers) -> None:
        super().__init__(codec, STREAM + codec.name, headers)

    def message(self, raw: Raw, limit: int) -> Raw:
        """The one enveloped message."""
        return only_message(raw, self.coding, limit)

    def whole(self, data: bytes) -> bytes:
        """A stream of one."""
        return self.frame(data) + self.end(None)

    def refusal(self, error: InferloomError) -> tuple[int, Headers, bytes]:
        """A stream that ends at once."""
        return 200, {"content-type": self.media_type}, self.end(error)


def described(error: InferloomError) -> dict[str, Any]:
    """An error as Connect's JSON tells it."""
    details = []
    for detail in rich_status(error).details:
        name = detail.type_url.rpartition("/")[2]
        value = base64.b64encode(detail.value).rstrip(b"=").decode()
        debug = json_format.MessageToDict(detail)
        debug.pop("@type")
        details.append({"type": name, "value": value, "debug": debug})
    return {"code": CONNECT[error.row.grpc][0], "message": error.message, "details": details}


def _from_base64(data: bytes) -> bytes:
    """What URL-safe base64 holds, padded or not."""
    data = data.rstrip(b"=")
    try:
        return base64.b64decode(data + b"=" * (-len(data) % 4), b"-_", validate=True)
    except binascii.Error:
        raise invalid("message", "message is not valid URL-safe base64.") from None
