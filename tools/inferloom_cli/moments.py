"""Moments as people type and read them. Pure; time is given in."""

import re
from datetime import UTC, datetime

from inferloom_cli.refusal import MISUSED, RefusedError

_AFTER = re.compile(r"(\d{1,6})([mhdwy])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_LAST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
"""The last moment that is shown."""


def moment_of(text: str, now: float) -> float:
    """Seconds since 1970 of ``90d`` from ``now`` (m, h, d, w, y), or of a date such as ``2026-12-31``, in UTC
    where it names no other zone.

    Raises:
        RefusedError: It is neither, or past, or after the year 9999.
    """
    after = _AFTER.fullmatch(text)
    if after is not None:
        then = now + int(after[1]) * _SECONDS[after[2]]
        if then > _LAST:
            raise RefusedError(f"{text} is after the year 9999", MISUSED)
        return then
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RefusedError(
            f"{text[:80]!r} is no time: write 90d, 12h, or a date such as 2026-12-31", MISUSED
        ) from None
    seconds = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    if seconds <= now:
        raise RefusedError(f"{text} is past", MISUSED)
    return seconds


def shown_moment(seconds: float | None) -> str:
    """``2026-12-31 09:30`` in UTC; a dash for None."""
    return "–" if seconds is None else f"{datetime.fromtimestamp(min(seconds, _LAST), UTC):%Y-%m-%d %H:%M}"
