"""A request's record in the contract's words. Pure.

Nothing of the request itself is in it: an error's message is left out where the request was at fault, because
such messages quote it.
"""

from collections.abc import Sequence
from itertools import islice

from google.protobuf.duration_pb2 import Duration

from inferloom.v1 import gateway_pb2 as pb
from inferloom_gateway.access.admission import Admission
from inferloom_gateway.calls.records import Attempt, Record
from inferloom_mesh.context import LONGEST_NAME
from inferloom_mesh.durations import duration
from inferloom_mesh.errors import InferloomError

MOST_ATTEMPTS = 256
"""Attempts that are told of a request, the last ones."""

_QUOTES = frozenset({400, 404, 405, 408, 409, 413, 415, 431})
"""Statuses of errors that are about what a request holds."""


def state_of(record: Record) -> "pb.RequestState.ValueType":
    """What is done with a request."""
    if record.ended_s is None:
        return pb.REQUEST_STATE_RUNNING
    if record.error is not None:
        return pb.REQUEST_STATE_FAILED
    return pb.REQUEST_STATE_CANCELLED if record.cancelled else pb.REQUEST_STATE_DONE


def record_message(record: Record, gateway: str, pid: int, *, brief: bool = False) -> pb.RequestRecord:
    """All of a record; ``brief``: without the candidates of its attempts."""
    context, attempts = record.context, record.attempts
    told = record.prompt_tokens > 0
    message = pb.RequestRecord(
        request_id=context.request_id,
        gateway=gateway,
        pid=pid,
        method=record.method,
        model=record.model[:LONGEST_NAME],
        caller=context.caller[:LONGEST_NAME],
        key_id=getattr(record.admission, "key_id", ""),
        tenant=context.tenant[:LONGEST_NAME],
        traceparent=context.traceparent,
        state=state_of(record),
        budget=None if context.deadline is None else duration(context.deadline - record.began),
        admission=_admission(record),
        dispatched=duration(attempts[0].began_s) if attempts else None,
        lined_up=_moment(record.lined_up_s),
        first_token=_moment(record.first_token_s),
        ended=_moment(record.ended_s),
        attempts=[_attempt(each, brief=brief) for each in _last(attempts)],
        attempt_count=len(attempts),
        compute_hash=record.compute_hash,
        frames=record.frames,
        delivered=record.delivered,
        prompt_tokens=record.prompt_tokens,
        cached_prompt_tokens=record.cached_prompt_tokens,
        completion_tokens=record.completion_tokens,
        queue=duration(record.queue_s) if told else None,
        prefill=duration(record.prefill_s) if told else None,
        decode=duration(record.decode_s) if told else None,
        error=_error(record.error),
    )
    for move in record.moves:
        message.moves.add(
            tokens=move.tokens,
            from_worker=move.left,
            to_worker=move.went_to,
            reason=move.why,
            at=duration(move.at_s),
        )
    message.arrived_at.FromNanoseconds(round(record.began_at * 1e9))
    return message


def troubled(record: Record) -> bool:
    """Whether a request failed, moved, or was tried again."""
    return record.error is not None or bool(record.moves) or any(each.again for each in record.attempts)


def _last(attempts: Sequence[Attempt]) -> Sequence[Attempt]:
    return list(islice(attempts, max(0, len(attempts) - MOST_ATTEMPTS), None))


def _attempt(attempt: Attempt, *, brief: bool) -> pb.AttemptRecord:
    candidates = () if brief else attempt.candidates
    return pb.AttemptRecord(
        worker=attempt.worker,
        epoch=attempt.epoch,
        candidates=[pb.CandidateRecord(worker=each.worker, load=each.load) for each in candidates],
        began=duration(attempt.began_s),
        accepted=_moment(attempt.accepted_s),
        ended=_moment(attempt.ended_s),
        again=attempt.again,
        error=_error(attempt.error),
        cause=attempt.cause,
    )


def _admission(record: Record) -> pb.AdmissionRecord | None:
    admission = record.admission
    if not isinstance(admission, Admission):
        return None
    return pb.AdmissionRecord(counted_in=admission.counted_in, reserved_tokens=admission.reserved_tokens)


def _error(error: InferloomError | None) -> pb.RecordedError | None:
    if error is None:
        return None
    message = "" if error.row.http in _QUOTES else error.message
    return pb.RecordedError(reason=error.reason.value, message=message, param=error.param or "")


def _moment(seconds: float | None) -> Duration | None:
    return None if seconds is None else duration(seconds)
