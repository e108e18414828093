"""What becomes of a line after an answer. Pure."""

from enum import Enum

MOST_ATTEMPTS = 3
"""How often a line is asked for that fails by a fault of ours."""

LATE = "timeout"
"""The code of an answer without a token in time."""

MOST_LATE = 20
"""How often a line is asked for that gets none: others may have gone before it, or it never will."""

FAULT_S = 1.0
"""How long a line waits that met its first fault."""

_LONGEST_S = 60.0

_NOT_NOW = frozenset(("server_overloaded", "storage_unavailable"))
_AWAY = frozenset(("no_worker", "model_not_found", "storage_full"))  # it was there when the batch began
_BARRED = "invalid_api_key"
_DEADLY = "request_barred"  # workers died of it, or of one that asked the same
_FAULTS = frozenset({500, 502, 503, 504})


class Verdict(Enum):
    """What to do with a line."""

    DONE = "done"
    """Its answer stands, good or bad."""
    LATER = "later"
    """There is no room for anybody's now: ask again, as often as it takes, and all lines more slowly."""
    AWAY = "away"
    """What it needs, such as its model, is not there now: leave its like alone for a while, as often as it
    takes. Others may need nothing of the kind."""
    LIMITED = "limited"
    """Its key has used up what it may: leave the key's lines alone for a while, as often as it takes."""
    BARRED = "barred"
    """The key that made the batch opens nothing any more: none of its lines will be let in."""
    AGAIN = "again"
    """It met a fault, or was late: ask once more."""


def judge(
    status: int, code: str | None, retry_after: float | None, attempts: int, *, tried: bool = True
) -> Verdict:
    """Judge an answer.

    Args:
        status: Its HTTP status.
        code: The error's code, if it tells of one.
        retry_after: After how many seconds another try is sensible, if it says so.
        attempts: How often the line met a fault before; with the code :data:`LATE`, how often it was late.
        tried: Whether a worker was asked. One that workers died of by itself is over, since each try may cost
            another; one that was refused for what others asked is not.
    """
    if status == 429:  # without a time it is over a limit by itself
        return Verdict.DONE if retry_after is None else Verdict.LIMITED
    if code in _AWAY:
        return Verdict.AWAY
    if code in _NOT_NOW:
        return Verdict.LATER
    if code == _BARRED:
        return Verdict.BARRED
    if status not in _FAULTS or (code == _DEADLY and tried):
        return Verdict.DONE
    most = MOST_LATE if code == LATE else MOST_ATTEMPTS
    return Verdict.AGAIN if attempts + 1 < most else Verdict.DONE


def again_s(retry_after: float | None, attempts: int) -> float:
    """How long a line waits that was asked for so often in vain: longer each time, and as it was told."""
    return max(FAULT_S * attempts, min(retry_after or 0.0, _LONGEST_S))
