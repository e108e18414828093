"""How a caller stands with his limits, in the words of OpenAI's headers and errors. Pure."""

from collections.abc import Sequence

from inferloom_gateway.access.limits.counts import Ask, Level, Refused
from inferloom_mesh.errors import InferloomError, Reason, shown

HEADERS = tuple(
    f"x-ratelimit-{what}-{kind}"
    for kind in ("requests", "tokens")
    for what in ("limit", "remaining", "reset")
)
"""Names of the headers."""

_UNITS = {"requests": "requests per min (RPM)", "tokens": "tokens per min (TPM)"}

Headers = list[tuple[bytes, bytes]]


def headers_of(asks: Sequence[Ask], levels: Sequence[Level]) -> Headers:
    """The headers that tell of the bucket with the least left, of requests and of tokens."""
    headers: Headers = []
    for kind in ("requests", "tokens"):
        least: tuple[int, int, float] | None = None
        for ask, level in zip(asks, levels, strict=True):
            most = getattr(ask.limits, f"{kind}_per_minute")
            if most is not None:
                left = max(0, most - getattr(level, kind))
                if least is None or left < least[1]:
                    least = most, left, level.reset_s
        if least is not None:
            values = (str(least[0]), str(least[1]), spelled(least[2]))
            headers += [
                (f"x-ratelimit-{what}-{kind}".encode(), value.encode())
                for what, value in zip(("limit", "remaining", "reset"), values, strict=True)
            ]
    return headers


def refusal(refused: Refused, tokens: int) -> InferloomError:
    """What a caller is told who has no room left."""
    limits, whose = refused.ask.limits, shown(refused.ask.bucket.replace(":", " ", 1))
    if refused.kind == "concurrent":
        return InferloomError(
            Reason.RATE_LIMIT_EXCEEDED,
            f"Rate limit reached for {whose} on concurrent requests: Limit {limits.concurrent}, "
            f"Running {refused.used}. Please try again when one has ended.",
            retry_after=1.0,
        )
    wanted, reason = (1, Reason.RATE_LIMIT_EXCEEDED)
    if refused.kind == "tokens":
        wanted, reason = (tokens, Reason.TOKEN_LIMIT_EXCEEDED)
    most = getattr(limits, f"{refused.kind}_per_minute")
    told = f"{_UNITS[refused.kind]}: Limit {most}, Used {refused.used}, Requested {wanted}."
    if refused.wait_s is None:
        return InferloomError(reason, f"Request too large for {whose} on {told} It can never be admitted.")
    return InferloomError(
        reason,
        f"Rate limit reached for {whose} on {told} Please try again in {spelled(refused.wait_s)}.",
        retry_after=refused.wait_s,
    )


def spelled(seconds: float) -> str:
    """A duration as OpenAI spells it: ``120ms``, ``8.6s``, ``1m0s``."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    tenths = round(seconds * 10)
    if tenths < 600:
        return f"{tenths / 10:g}s"
    return f"{tenths // 600}m{tenths % 600 / 10:g}s"
