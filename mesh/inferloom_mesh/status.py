"""Errors as gRPC statuses, and back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from inferloom_mesh import named_fields
from inferloom_mesh.durations import duration, seconds
from inferloom_mesh.errors import InferloomError, Reason

DOMAIN = "inferloom"
_FIELDS = "fields"
"""In an ErrorInfo's metadata: where the status's message names fields."""

# What a status without our ErrorInfo means: it comes from the transport or from a server that is not ours.
_BARE: dict[grpc.StatusCode, Reason] = {
    grpc.StatusCode.INVALID_ARGUMENT: Reason.INVALID_ARGUMENT,
    grpc.StatusCode.OUT_OF_RANGE: Reason.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND: Reason.NOT_FOUND,
    grpc.StatusCode.UNAUTHENTICATED: Reason.INVALID_API_KEY,
    grpc.StatusCode.PERMISSION_DENIED: Reason.PERMISSION_DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Reason.REQUEST_TOO_LARGE,
    grpc.StatusCode.UNAVAILABLE: Reason.WORKER_LOST,
    grpc.StatusCode.DEADLINE_EXCEEDED: Reason.TIMEOUT,
    grpc.StatusCode.UNIMPLEMENTED: Reason.UNIMPLEMENTED,
    grpc.StatusCode.CANCELLED: Reason.WORKER_LOST,
}


def to_status(error: InferloomError) -> grpc.Status:
    """Render an error as a status with its details."""
    return rpc_status.to_status(rich_status(error))


def rich_status(error: InferloomError) -> status_pb2.Status:
    """An error as a message: with one ErrorInfo, and BadRequest and RetryInfo where they apply."""
    details: list[any_pb2.Any] = []

    def attach(
        message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo,
    ) -> None:
        packed = any_pb2.Any()
        packed.Pack(message)
        details.append(packed)

    fields = {_FIELDS: named_fields.written(error.places)} if error.places else {}
    attach(error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=fields))
    if error.param is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.param, description=error.message)
        attach(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after is not None:
        attach(error_details_pb2.RetryInfo(retry_delay=duration(error.retry_after)))
    code = code_pb2.Code.Value(error.row.grpc.name)
    return status_pb2.Status(code=code, message=error.message, details=details)


@dataclass(frozen=True, slots=True)
class CallFailure:
    """A failed call, read once."""

    error: InferloomError
    """What to tell the caller. A status of ours comes back as it was raised. Any other keeps its code's
    meaning but not its message, which can hold addresses and other internals."""
    ours: bool
    """Whether an Inferloom service raised the status, and not the transport or another server."""
    code: grpc.StatusCode


def read_failure(failure: grpc.aio.AioRpcError) -> CallFailure:
    """Read a failed call's status and its details."""
    return read_status(failure.code(), failure.details() or "", _details(failure))


def read_status(code: grpc.StatusCode, message: str, details: Iterable[any_pb2.Any]) -> CallFailure:
    """Read a status, however it came."""
    info, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    for detail in details:
        for target in (info, bad, retry):
            try:
                detail.Unpack(target)
            except DecodeError:  # what contradicts its own type is not ours
                return bare(code)
    if info.domain != DOMAIN:
        return bare(code)
    reason = _BARE.get(code, Reason.SERVER_ERROR)
    if info.reason in Reason.__members__:  # a newer service may have others
        reason = Reason(info.reason)
    param = bad.field_violations[0].field if bad.field_violations else None
    after = seconds(retry.retry_delay) if retry.HasField("retry_delay") else None
    message = named_fields.renamed(message, named_fields.read(info.metadata.get(_FIELDS, "")))
    error = InferloomError(reason, message, param=param, retry_after=after)
    return CallFailure(error, ours=True, code=code)


def bare(code: grpc.StatusCode) -> CallFailure:
    """What a status means that has nothing but its code."""
    reason = _BARE.get(code, Reason.SERVER_ERROR)
    return CallFailure(
        InferloomError(reason, f"The call failed with status {code.name}."), ours=False, code=code
    )


def from_rpc_error(failure: grpc.aio.AioRpcError) -> InferloomError:
    """The error of a failed call, whoever raised it."""
    return read_failure(failure).error


def _details(failure: grpc.aio.AioRpcError) -> Sequence[any_pb2.Any]:
    try:
        status = rpc_status.from_call(failure)  # type: ignore[arg-type] # it has what from_call reads
    except ValueError:  # details that contradict the status are not ours
        return ()
    return status.details if status else ()
