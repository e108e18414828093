"""What Connect calls the statuses of gRPC, and the HTTP statuses that go with them, by its specification."""

from grpc import StatusCode

CONNECT: dict[StatusCode, tuple[str, int]] = {
    StatusCode.CANCELLED: ("canceled", 499),
    StatusCode.UNKNOWN: ("unknown", 500),
    StatusCode.INVALID_ARGUMENT: ("invalid_argument", 400),
    StatusCode.DEADLINE_EXCEEDED: ("deadline_exceeded", 504),
    StatusCode.NOT_FOUND: ("not_found", 404),
    StatusCode.ALREADY_EXISTS: ("already_exists", 409),
    StatusCode.PERMISSION_DENIED: ("permission_denied", 403),
    StatusCode.RESOURCE_EXHAUSTED: ("resource_exhausted", 429),
    StatusCode.FAILED_PRECONDITION: ("failed_precondition", 400),
    StatusCode.ABORTED: ("aborted", 409),
    StatusCode.OUT_OF_RANGE: ("out_of_range", 400),
    StatusCode.UNIMPLEMENTED: ("unimplemented", 501),
    StatusCode.INTERNAL: ("internal", 500),
    StatusCode.UNAVAILABLE: ("unavailable", 503),
    StatusCode.DATA_LOSS: ("data_loss", 500),
    StatusCode.UNAUTHENTICATED: ("unauthenticated", 401),
}
