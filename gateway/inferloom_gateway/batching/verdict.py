"""What becomes of a line after an answer. Pure."""

from enum import Enum

MOST_ATTEMPTS = 3
"""How often a line is asked for that fails by a fault of ours."""

_NOT_NOW = frozenset(
    ("rate_limit_exceeded", "server_overloaded", "no_worker", "storage_full", "storage_unavailable")
)
_FAULTS = frozenset({500, 502, 503, 504})


class Verdict(Enum):
    """What to do with a line."""

    DONE = "done"
    """Its answer stands, good or bad."""
    LATER = "later"
    """There is no room for it now: ask again, as often as it takes."""
    AGAIN = "again"
    """It met a fault: ask once more."""


def judge(status: int, code: str | None, attempts: int) -> Verdict:
    """Judge an answer.

    Args:
        status: Its HTTP status.
        code: The error's code, if it tells of one.
        attempts: How often the line met a fault before.
    """
    if code in _NOT_NOW or status == 429:
        return Verdict.LATER
    if status in _FAULTS and attempts + 1 < MOST_ATTEMPTS:
        return Verdict.AGAIN
    return Verdict.DONE
