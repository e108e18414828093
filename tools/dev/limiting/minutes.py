"""What came of requests in every minute, told by clients' clocks. Pure.

A client knows when it sent a request and when its answer came; that it was let in between the two. So what
was surely let in within a minute is what was sent and answered within it.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Admitted:
    """One request that was let in; seconds of one clock."""

    sent: float
    answered: float
    tokens: int
    """What it used."""


def most_in_a_minute(admitted: Sequence[Admitted], *, tokens: bool) -> int:
    """The most requests, or tokens, that were surely let in within any minute."""
    if not admitted:
        return 0
    by_end = sorted(admitted, key=lambda each: each.answered)
    ends = [each.answered for each in by_end]
    most = 0
    for first in admitted:
        last = bisect_right(ends, first.sent + MINUTE_S)
        inside = [each for each in by_end[:last] if each.sent >= first.sent]
        most = max(most, sum(each.tokens for each in inside) if tokens else len(inside))
    return most


def whole_minutes(admitted: Sequence[Admitted], began: float, ended: float, slack_s: float) -> list[int]:
    """How many requests each whole minute let in, one after the other; each begins ``slack_s`` late, by which
    the limiter may hold back."""
    counts = []
    start = began
    while start + MINUTE_S <= ended:
        counts.append(sum(start <= each.sent < start + MINUTE_S for each in admitted))
        start += MINUTE_S + slack_s
    return counts
