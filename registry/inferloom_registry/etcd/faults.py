"""What can go wrong with etcd, and what its statuses mean."""

import grpc

_ELSEWHERE = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
    }
)
_LOG_IN = ("invalid auth token", "auth store is old", "user name is empty")
_NO_LEASE = "lease not found"


class EtcdError(Exception):
    """Etcd did not do what it was asked, in words for a log."""


class CompactedError(EtcdError):
    """What was to be told from some revision on is not kept any more."""


class LeaseGoneError(EtcdError):
    """The lease that a key was to go with is not there."""


def told(failure: grpc.aio.AioRpcError) -> EtcdError:
    """The error for a failed call."""
    text = f"{failure.code().name}: {failure.details()}"
    return LeaseGoneError(text) if _NO_LEASE in (failure.details() or "") else EtcdError(text)


def better_elsewhere(failure: grpc.aio.AioRpcError) -> bool:
    """Whether another member may do what this one did not."""
    return failure.code() in _ELSEWHERE


def wants_login(failure: grpc.aio.AioRpcError) -> bool:
    """Whether the call failed because its token is not good any more, or it had none."""
    return any(text in (failure.details() or "") for text in _LOG_IN)
