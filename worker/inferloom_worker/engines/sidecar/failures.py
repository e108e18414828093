"""What a server's refusals mean, in the words of the contract. Pure."""

import math

import orjson

from inferloom_mesh.errors import InferloomError, Reason, overloaded
from inferloom_worker.engines.http_status import reason_of, status_of

MOST_RETRY_S = 60.0
_MOST_WORDS = 300
"""Characters of a server's own words that an error repeats."""

_TOO_LONG = (
    "maximum context length",
    "context_length_exceeded",
    "exceed_context_size",
    "exceeds the available context",
    "context length",
)

_NOT_NOW = {
    401: "The model's server refuses the worker's key.",
    403: "The model's server refuses the worker's key.",
    404: "The model's server does not have the model now.",
    502: "The model's server cannot be reached.",
}

_SAYS = {
    Reason.REQUEST_TOO_LARGE: "The model's server takes no request of this size",
    Reason.TIMEOUT: "The model's server ran out of time",
    Reason.UNSUPPORTED_TASK: "The model's server cannot do that",
}


def words_of(body: bytes) -> tuple[str, str]:
    """What the server says, in one line, and words for its error's type and code; empty where none are."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", ""
    error = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(error, str):
        return _line(error), ""
    if not isinstance(error, dict):
        return "", ""
    said = error.get("message") or error.get("detail") or error.get("error")
    kind = " ".join(word for name in ("type", "code") if isinstance(word := error.get(name), str))
    return (_line(said) if isinstance(said, str) else ""), kind


def refused(status: int, body: bytes, retry_after: str | None = None) -> InferloomError:
    """The error for a response with a status other than 200."""
    said, kind = words_of(body)
    colon = f": {said}" if said else "."
    match reason_of(status):
        case Reason.NO_WORKER:
            # The words of one that refuses a key are not repeated: they may hold a part of it.
            return _not_now(_NOT_NOW[status])
        case Reason.SERVER_OVERLOADED:
            return overloaded(f"The model's server takes no more now{colon}", _seconds(retry_after))
        case Reason.INVALID_ARGUMENT:
            long = any(mark in f"{kind} {said}".lower() for mark in _TOO_LONG)
            reason = Reason.CONTEXT_LENGTH_EXCEEDED if long else Reason.INVALID_ARGUMENT
            return InferloomError(reason, said or "The model's server refuses the request.")
        case Reason.SERVER_ERROR as reason:
            error = InferloomError(reason, f"The model's server failed ({status}){colon}")
            return error if status >= 500 else died(error)  # what leads elsewhere is none of the API
        case reason:
            return InferloomError(reason, f"{_SAYS[reason]}{colon}")


def in_stream(body: bytes) -> InferloomError | None:
    """The error that an event of a stream tells. None: it tells none."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict) or not value.get("error"):
        return None
    error = value["error"]
    words = (error.get("code"), error.get("type")) if isinstance(error, dict) else ()
    return refused(status_of(*words), body)


def gave_up(word: str) -> InferloomError:
    """The error for an answer that the server ended as failed, in its word for that."""
    return InferloomError(Reason.SERVER_ERROR, f"The model's server gave the answer up ({word}).")


def lost(why: str = "") -> InferloomError:
    """The error for a server that went away, or says what cannot be understood."""
    tail = f": {why}" if why else ""
    return InferloomError(Reason.WORKER_LOST, f"The model's server was lost{tail}.", retry_after=1.0)


def died(error: InferloomError) -> InferloomError:
    """The error for a failure of a server that can do no more."""
    return InferloomError(Reason.WORKER_LOST, error.message, retry_after=1.0)


def unreached() -> InferloomError:
    """The error for a server that was not reached: what has nothing of a request cannot have ended of it."""
    return _not_now("The model's server cannot be reached.", 1.0)


def _not_now(message: str, retry_s: float = 5.0) -> InferloomError:
    return InferloomError(Reason.NO_WORKER, message, retry_after=retry_s)


def _seconds(text: str | None) -> float:
    """Retry-After in seconds; a date, or nothing that is understood, is a second."""
    try:
        value = float(text or "1")
    except ValueError:
        return 1.0
    return min(max(value, 0.1), MOST_RETRY_S) if math.isfinite(value) else 1.0


def _line(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _MOST_WORDS else f"{words[: _MOST_WORDS - 1]}…"
