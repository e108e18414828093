"""What a failed call to a worker means for the request and for the worker. Pure."""

from dataclasses import dataclass

import grpc

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.status import from_rpc_error, is_ours

_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
_BROKEN = (*_LOST, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.ABORTED)

# Another worker may answer these differently: it may have room, and may not be draining or unloading.
_ELSEWHERE = frozenset(
    {Reason.SERVER_OVERLOADED, Reason.NO_WORKER, Reason.WORKER_LOST, Reason.MODEL_NOT_FOUND}
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one failed call is judged."""

    error: InferloomError
    """What the caller is told, if it is told."""
    elsewhere: bool
    """Whether another worker may do better."""
    lost: bool
    """Whether the worker is to be left alone until it answers a probe."""
    blamed: bool
    """Whether the failure counts against the worker."""


def judge(failure: grpc.aio.AioRpcError) -> Verdict:
    """Judge a failed call by its status: one that a worker chose, or one that the transport made."""
    error = from_rpc_error(failure)
    if is_ours(failure):
        return Verdict(
            error, error.reason in _ELSEWHERE, lost=False, blamed=error.reason is Reason.SERVER_ERROR
        )
    broken = failure.code() in _BROKEN
    if broken:
        error = worker_lost()
    return Verdict(error, broken, lost=failure.code() in _LOST, blamed=broken)


def worker_lost() -> InferloomError:
    """The error for a worker that went away while it was answering."""
    return InferloomError(Reason.WORKER_LOST, "The worker that was answering was lost.", retry_after=1.0)
