"""A call that failed, in the contract's words, and what that means for the request."""

from enum import Enum
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

DETAILS = "grpc-status-details-bin"
DOMAIN = "inferloom"

LONGEST_TOLD_S = 20.0
"""How far in the future a mesh may put the next try for it to be made without asking the caller."""

_BARRED = "REQUEST_BARRED"
"""Workers died of the request: only the caller may want that asked again."""

_LOST = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        # What proxies make of an upstream that died, and servers of a call that broke in them.
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.ABORTED,
    }
)


class Kind(Enum):
    """What a failure means."""

    FINAL = "final"
    """It is the request's answer: the mesh's own word, or a refusal that would be the same again."""
    LATER = "later"
    """The mesh says so, and after how long the request may be asked again."""
    LOST = "lost"
    """The connection broke, or was none: nobody has said anything of the request."""
    LATE = "late"
    """The request's time is over, and whoever was called had not said so: he may hang."""


class InferloomError(Exception):
    """What a mesh answered in place of what was asked for."""

    def __init__(
        self,
        message: str,
        code: grpc.StatusCode,
        *,
        reason: str = "",
        field: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        """Such as ``MODEL_NOT_FOUND``; empty where the connection failed, or another server answered."""
        self.field = field
        """The field at fault; empty where none is."""
        self.retry_after_s = retry_after_s
        """Seconds after which another try is sensible. None: it does not say."""

    @property
    def kind(self) -> Kind:
        """What it means."""
        if self.reason:
            after = self.retry_after_s
            final = self.reason == _BARRED or after is None or after > LONGEST_TOLD_S
            return Kind.FINAL if final else Kind.LATER
        if self.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Kind.LATE
        return Kind.LOST if self.code in _LOST else Kind.FINAL

    @property
    def lost(self) -> bool:
        """Whether whoever was called went away, so that another may answer."""
        return self.kind is Kind.LOST


def read(failure: grpc.RpcError | InferloomError) -> InferloomError:
    """What a failed call says, of either kind of channel; an error that was read is itself."""
    if isinstance(failure, InferloomError):
        return failure
    call: Any = failure  # both kinds have a code, a text and metadata, and no common type says so
    details = next((value for key, value in call.trailing_metadata() or () if key == DETAILS), b"")
    reason, field, retry_after = "", "", None
    for detail in _status(details).details:
        info, bad, retry = (
            error_details_pb2.ErrorInfo(),
            error_details_pb2.BadRequest(),
            error_details_pb2.RetryInfo(),
        )
        if detail.Is(info.DESCRIPTOR) and detail.Unpack(info) and info.domain == DOMAIN:
            reason = info.reason
        elif detail.Is(bad.DESCRIPTOR) and detail.Unpack(bad) and bad.field_violations:
            field = bad.field_violations[0].field
        elif detail.Is(retry.DESCRIPTOR) and detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    message = call.details() or call.code().name
    return InferloomError(message, call.code(), reason=reason, field=field, retry_after_s=retry_after)


def closed() -> InferloomError:
    """The error of a call whose client was closed."""
    return InferloomError("The client is closed.", grpc.StatusCode.FAILED_PRECONDITION)


def _status(details: object) -> status_pb2.Status:
    try:
        return status_pb2.Status.FromString(details) if isinstance(details, bytes) else status_pb2.Status()
    except DecodeError:
        return status_pb2.Status()
