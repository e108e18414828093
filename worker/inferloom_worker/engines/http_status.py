"""What the status of a refusal over HTTP means, in the reasons of the contract: one table. Pure."""

from inferloom_mesh.errors import Reason

_REASONS = {
    401: Reason.NO_WORKER,
    403: Reason.NO_WORKER,
    404: Reason.NO_WORKER,
    408: Reason.TIMEOUT,
    413: Reason.REQUEST_TOO_LARGE,
    429: Reason.SERVER_OVERLOADED,
    501: Reason.UNSUPPORTED_TASK,
    502: Reason.NO_WORKER,  # a proxy's word for a server that it does not reach
    503: Reason.SERVER_OVERLOADED,
    504: Reason.TIMEOUT,
}


def reason_of(status: int) -> Reason:
    """The reason of a status other than 200. One that blames the request is its caller's affair; any other
    that is not listed tells of a server that failed, so that another may do better."""
    listed = _REASONS.get(status)
    if listed is not None:
        return listed
    return Reason.INVALID_ARGUMENT if 400 <= status < 500 else Reason.WORKER_LOST
