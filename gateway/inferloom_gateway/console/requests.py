"""What is shown of requests: a row of each, and one's story."""

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message

from inferloom.v1 import gateway_pb2 as pb
from inferloom_gateway.calls.records import Record
from inferloom_mesh.durations import seconds

STATES = {
    pb.REQUEST_STATE_RUNNING: "running",
    pb.REQUEST_STATE_DONE: "done",
    pb.REQUEST_STATE_FAILED: "failed",
    pb.REQUEST_STATE_CANCELLED: "cancelled",
}


def rows(records: Iterable[Record]) -> dict[str, dict[str, Any]]:
    """Rows of requests. Two of one name are told apart by when they came."""
    return {f"{each.context.request_id}@{each.began_at:.6f}": row(each) for each in records}


def row(record: Record) -> dict[str, Any]:
    """One request in short. Moments are seconds since 1970, durations seconds. It is read from the record
    itself: there are many, several times a second."""
    generated = record.delivered if record.method == "generate" else 0
    return {
        "id": record.context.request_id,
        "model": record.model,
        "method": record.method,
        "tenant": record.context.tenant,
        "caller": record.context.caller,
        "began": round(record.began_at, 3),
        "state": _state(record),
        "worker": record.worker,
        "tokens": max(record.completion_tokens, generated),
        "first": rounded(record.first_token_s),
        "ended": rounded(record.ended_s),
        "moves": len(record.moves),
        "tries": len(record.attempts),
        "error": None if record.error is None else record.error.reason.value,
    }


def row_elsewhere(told: pb.RequestRecord) -> tuple[str, dict[str, Any]]:
    """The name of the row of a request at another process, and the row."""
    began = told.arrived_at.seconds + told.arrived_at.nanos / 1e9
    return f"{told.request_id}@{began:.6f}", {
        "id": told.request_id,
        "model": told.model,
        "method": told.method,
        "tenant": told.tenant,
        "caller": told.caller,
        "began": round(began, 3),
        "state": STATES.get(told.state, ""),
        "worker": told.attempts[-1].worker if told.attempts else "",
        "tokens": _tokens(told),
        "first": _moment(told, "first_token"),
        "ended": _moment(told, "ended"),
        "moves": len(told.moves),
        "tries": told.attempt_count,
        "error": told.error.reason if told.HasField("error") else None,
    }


def story(record: pb.RequestRecord, now: float) -> dict[str, Any]:
    """All that is known of one request. Moments within it are seconds after its arrival; ``now`` in seconds
    since 1970 says for how long one has run."""
    began = record.arrived_at.seconds + record.arrived_at.nanos / 1e9
    return {
        "id": record.request_id,
        "gateway": f"{record.gateway} · {record.pid}",
        "model": record.model,
        "method": record.method,
        "tenant": record.tenant,
        "caller": record.caller,
        "key_id": record.key_id,
        "began": began,
        "state": STATES.get(record.state, ""),
        "age": None if record.HasField("ended") else rounded(max(0.0, now - began)),
        "dispatched": _moment(record, "dispatched"),
        "lined_up": _moment(record, "lined_up"),
        "first": _moment(record, "first_token"),
        "ended": _moment(record, "ended"),
        "prompt": record.prompt_tokens,
        "cached": record.cached_prompt_tokens,
        "tokens": _tokens(record),
        "queue_s": _moment(record, "queue"),
        "prefill_s": _moment(record, "prefill"),
        "decode_s": _moment(record, "decode"),
        "compute_hash": record.compute_hash,
        "counted_in": list(record.admission.counted_in),
        "why": _why(record),
        "attempts": [_attempt(each) for each in record.attempts],
        "moves_told": [_move(each) for each in record.moves],
    }


def rounded(value: float | None) -> float | None:
    """A duration to a tenth of a millisecond."""
    return None if value is None else round(value, 4)


def _tokens(told: pb.RequestRecord) -> int:
    return max(told.completion_tokens, told.delivered if told.method == "generate" else 0)


def _state(record: Record) -> str:
    if record.ended_s is None:
        return "running"
    if record.error is not None:
        return "failed"
    return "cancelled" if record.cancelled else "done"


def _attempt(attempt: pb.AttemptRecord) -> dict[str, Any]:
    return {
        "worker": attempt.worker,
        "epoch": attempt.epoch,
        "again": attempt.again,
        "began": rounded(seconds(attempt.began)),
        "accepted": _moment(attempt, "accepted"),
        "ended": _moment(attempt, "ended"),
        "why": _why(attempt),
        "candidates": [{"worker": each.worker, "load": round(each.load, 3)} for each in attempt.candidates],
    }


def _move(move: pb.MoveRecord) -> dict[str, Any]:
    return {
        "from": move.from_worker,
        "to": move.to_worker,
        "tokens": move.tokens,
        "reason": move.reason,
        "at": rounded(seconds(move.at)),
    }


def _why(told: pb.RequestRecord | pb.AttemptRecord) -> dict[str, str] | None:
    if not told.HasField("error"):
        return None
    return {"reason": told.error.reason, "message": told.error.message}


def _moment(told: Message, name: str) -> float | None:
    return rounded(seconds(getattr(told, name))) if told.HasField(name) else None
