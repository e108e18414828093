"""The one error table: every way a request can fail, in the words of each face.

A component raises :class:`InferloomError` with a :class:`Reason`; ``status`` turns it into a gRPC status
and back, and the gateway renders it as an OpenAI error object. Nothing else decides a status code.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import grpc

from inferloom_mesh.named_fields import begins, renamed, told
from inferloom_mesh.quotations import shortened

MOST_QUOTED = 100
"""Characters of a caller's input that a message or a param repeats at most."""

_MOST_READ = 8192
"""Characters of a message that are looked at: nobody's text makes an error costly."""

_MOST_BYTES = 600
"""Most of a message: it also travels in trailing metadata, of which gRPC allows 8 KiB in all."""


class Reason(StrEnum):
    """Why a request failed: the ``reason`` of ``google.rpc.ErrorInfo``."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    CONTEXT_LENGTH_EXCEEDED = "CONTEXT_LENGTH_EXCEEDED"
    UNSUPPORTED_PARAMETER = "UNSUPPORTED_PARAMETER"
    UNKNOWN_PARAMETER = "UNKNOWN_PARAMETER"
    UNSUPPORTED_TASK = "UNSUPPORTED_TASK"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    REQUEST_HEAD_TOO_LARGE = "REQUEST_HEAD_TOO_LARGE"
    REQUEST_TIMEOUT = "REQUEST_TIMEOUT"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    INVALID_API_KEY = "INVALID_API_KEY"
    NOT_A_PEER = "NOT_A_PEER"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"
    TOKEN_LIMIT_EXCEEDED = "TOKEN_LIMIT_EXCEEDED"  # noqa: S105 # no secret
    STORAGE_QUOTA_EXCEEDED = "STORAGE_QUOTA_EXCEEDED"
    STORAGE_FULL = "STORAGE_FULL"
    STORAGE_UNAVAILABLE = "STORAGE_UNAVAILABLE"
    SERVER_OVERLOADED = "SERVER_OVERLOADED"
    WAIT_TOO_LONG = "WAIT_TOO_LONG"
    NO_WORKER = "NO_WORKER"
    WORKER_LOST = "WORKER_LOST"
    REQUEST_BARRED = "REQUEST_BARRED"
    TIMEOUT = "TIMEOUT"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    SERVER_ERROR = "SERVER_ERROR"


@dataclass(frozen=True, slots=True)
class Row:
    """What one reason is called on each face.

    ``code`` is None where OpenAI's own API leaves it null.
    """

    grpc: grpc.StatusCode
    http: int
    type: str
    code: str | None
    final: bool = False
    """Whether a program is not to ask the same again by itself. OpenAI's SDKs do so by the status: 408, 409,
    429, and whatever is 500 or above."""


_CALLER = "invalid_request_error"
_SERVER = "server_error"
_Code = grpc.StatusCode

TABLE: dict[Reason, Row] = {
    Reason.INVALID_ARGUMENT: Row(_Code.INVALID_ARGUMENT, 400, _CALLER, None),
    Reason.CONTEXT_LENGTH_EXCEEDED: Row(_Code.INVALID_ARGUMENT, 400, _CALLER, "context_length_exceeded"),
    Reason.UNSUPPORTED_PARAMETER: Row(_Code.INVALID_ARGUMENT, 400, _CALLER, "unsupported_parameter"),
    Reason.UNKNOWN_PARAMETER: Row(_Code.INVALID_ARGUMENT, 400, _CALLER, "unknown_parameter"),
    Reason.UNSUPPORTED_TASK: Row(_Code.INVALID_ARGUMENT, 400, _CALLER, "unsupported_task"),
    Reason.REQUEST_TOO_LARGE: Row(_Code.INVALID_ARGUMENT, 413, _CALLER, "request_too_large"),
    Reason.REQUEST_HEAD_TOO_LARGE: Row(_Code.INVALID_ARGUMENT, 431, _CALLER, "request_head_too_large"),
    Reason.REQUEST_TIMEOUT: Row(_Code.DEADLINE_EXCEEDED, 408, _CALLER, "request_timeout"),
    Reason.UNSUPPORTED_MEDIA_TYPE: Row(_Code.INVALID_ARGUMENT, 415, _CALLER, "unsupported_media_type"),
    Reason.INVALID_API_KEY: Row(_Code.UNAUTHENTICATED, 401, _CALLER, "invalid_api_key"),
    Reason.NOT_A_PEER: Row(_Code.UNAUTHENTICATED, 401, _CALLER, "not_a_peer"),
    Reason.PERMISSION_DENIED: Row(_Code.PERMISSION_DENIED, 403, _CALLER, "permission_denied"),
    Reason.NOT_FOUND: Row(_Code.NOT_FOUND, 404, _CALLER, "not_found"),
    Reason.METHOD_NOT_ALLOWED: Row(_Code.UNIMPLEMENTED, 405, _CALLER, "method_not_allowed"),
    Reason.MODEL_NOT_FOUND: Row(_Code.NOT_FOUND, 404, _CALLER, "model_not_found"),
    Reason.ALREADY_EXISTS: Row(_Code.ALREADY_EXISTS, 409, _CALLER, "already_exists"),
    # Both have OpenAI's code; its type says what there was too much of.
    Reason.RATE_LIMIT_EXCEEDED: Row(_Code.RESOURCE_EXHAUSTED, 429, "requests", "rate_limit_exceeded"),
    Reason.TOKEN_LIMIT_EXCEEDED: Row(_Code.RESOURCE_EXHAUSTED, 429, "tokens", "rate_limit_exceeded"),
    Reason.STORAGE_QUOTA_EXCEEDED: Row(_Code.RESOURCE_EXHAUSTED, 400, _CALLER, "storage_quota_exceeded"),
    Reason.STORAGE_FULL: Row(_Code.RESOURCE_EXHAUSTED, 507, _SERVER, "storage_full"),
    Reason.STORAGE_UNAVAILABLE: Row(_Code.UNAVAILABLE, 503, _SERVER, "storage_unavailable"),
    Reason.SERVER_OVERLOADED: Row(_Code.UNAVAILABLE, 503, _SERVER, "server_overloaded"),
    # There is room, and a wait that is longer than this request's own deadline.
    Reason.WAIT_TOO_LONG: Row(_Code.UNAVAILABLE, 503, _SERVER, "server_overloaded"),
    Reason.NO_WORKER: Row(_Code.UNAVAILABLE, 503, _SERVER, "no_worker"),
    Reason.WORKER_LOST: Row(_Code.UNAVAILABLE, 503, _SERVER, "worker_lost"),
    # Workers died of it: only who asks may want that again. Retry policies of gRPC name UNAVAILABLE.
    Reason.REQUEST_BARRED: Row(_Code.FAILED_PRECONDITION, 503, _SERVER, "request_barred", final=True),
    Reason.TIMEOUT: Row(_Code.DEADLINE_EXCEEDED, 504, _SERVER, "timeout"),
    Reason.UNIMPLEMENTED: Row(_Code.UNIMPLEMENTED, 501, _CALLER, "unimplemented", final=True),
    Reason.SERVER_ERROR: Row(_Code.INTERNAL, 500, _SERVER, "server_error"),
}


class InferloomError(Exception):
    """A request failed for a reason its caller should be told.

    Whatever of the caller's input the message and the param repeat is cut here: at most 200 characters in
    all come back.

    Args:
        reason: The row of the error table.
        message: One sentence for the caller; it names values, never internals. Fields in it are ``named``;
            ``param`` needs not be where it begins with that.
        param: The request field at fault, in dotted protobuf names, such as ``sampling.top_p``.
        retry_after: Seconds after which another try is sensible; for reasons about capacity.
    """

    def __init__(
        self, reason: Reason, message: str, *, param: str | None = None, retry_after: float | None = None
    ) -> None:
        if param is not None and len(param) > MOST_QUOTED:
            message, param = message.replace(param, shown(param)), shown(param)
        message, places = told(_bounded(message))
        if param is not None and begins(message, param) and (not places or places[0][0] > 0):
            places = ((0, len(param)), *places)
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.places = places
        """Where the message names fields."""
        self.param = param
        self.retry_after = retry_after

    def kept(self) -> "InferloomError":
        """The same error for keeping: one that was raised holds the frames that it went through, and with
        them the request."""
        copy = InferloomError.__new__(InferloomError)
        Exception.__init__(copy, self.message)
        copy.reason, copy.message, copy.places = self.reason, self.message, self.places
        copy.param, copy.retry_after = self.param, self.retry_after
        return copy

    def restated(self, rename: Callable[[str], str]) -> "InferloomError":
        """The same error with its fields as ``rename`` calls them. Nothing else of its message changes:
        callers' words are theirs."""
        return InferloomError(
            self.reason,
            renamed(self.message, self.places, rename),
            param=None if self.param is None else rename(self.param),
            retry_after=self.retry_after,
        )

    @property
    def row(self) -> Row:
        """This error's row of the table."""
        return TABLE[self.reason]

    @property
    def final(self) -> bool:
        """Whether a program is not to ask the same again by itself: 429 without a
        time is of a limit that this request alone is over."""
        return self.row.final or (self.row.http == 429 and self.retry_after is None)


def shown(text: str, most: int = MOST_QUOTED) -> str:
    """A caller's text as an error repeats it: its beginning, if it is long."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _bounded(message: str) -> str:
    """The message with its long quotations cut, and its middle left out if it is still long."""
    if len(message) > _MOST_READ:
        message = _without_middle(message, _MOST_READ)
    if len(message) > MOST_QUOTED:
        message = shortened(message, MOST_QUOTED, shown)
    most = _MOST_BYTES
    while len(message.encode(errors="replace")) > _MOST_BYTES:
        most = min(most, len(message)) * 3 // 4
        message = _without_middle(message, most)
    return message


def _without_middle(message: str, most: int) -> str:
    return f"{message[: most * 2 // 3]} … {message[len(message) - most // 3 :]}"


def invalid(param: str, message: str) -> InferloomError:
    """The error for a malformed or out-of-range field."""
    return InferloomError(Reason.INVALID_ARGUMENT, message, param=param)


def unsupported(param: str, message: str | None = None) -> InferloomError:
    """The error for a field that is known and not supported here."""
    return InferloomError(Reason.UNSUPPORTED_PARAMETER, message or f"{param} is not supported.", param=param)


def overloaded(message: str, retry_after: float = 1.0) -> InferloomError:
    """The error for a full queue."""
    return InferloomError(Reason.SERVER_OVERLOADED, message, retry_after=retry_after)


def stopped() -> InferloomError:
    """The error for a call of a worker that stops, or whose model does: another goes on with it, and nothing
    is held against either."""
    return InferloomError(
        Reason.NO_WORKER, "The worker stopped before the request was complete.", retry_after=1.0
    )


def server_error() -> InferloomError:
    """The error for a fault of our own, which shows no internals."""
    return InferloomError(Reason.SERVER_ERROR, "The server had an internal error.")
