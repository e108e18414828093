"""What a call's status means for the request and for the worker. Pure."""

import grpc

from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.attempt import Verdict
from inferloom_mesh.status import CallFailure

_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
_BROKEN = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.ABORTED)
NOT_LET_IN = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
"""Codes of a worker that does not want this gateway."""


def judge(read: CallFailure) -> Verdict:
    """Judge a failed call by its status: one that a worker chose, or one that the transport made."""
    if read.code in NOT_LET_IN:
        return attempt.not_let_in()  # who the caller is was asked before
    if read.ours:
        return attempt.refused(read.error)
    if read.code in _LOST:
        return attempt.lost()
    if read.code in _BROKEN:
        return attempt.broken()
    if read.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return attempt.overdue(read.error)
    return attempt.other(read.error)
