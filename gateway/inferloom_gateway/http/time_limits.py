"""How long a REST caller waits, as headers of his request say it."""

import math
import re
from dataclasses import dataclass

from starlette.datastructures import Headers

from inferloom_mesh.errors import InferloomError, invalid, shown

REQUEST = "x-request-timeout"
READ = "x-stainless-read-timeout"
"""What OpenAI's SDK for Python sends: its HTTP client's read timeout, which begins anew with each byte."""
HEAD = "x-stainless-timeout"
"""What that for JavaScript sends: whole seconds until the head of the answer, 0 for less than one."""

_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_PYTHON = re.compile(r"[0-9]{1,9}(\.[0-9]{1,20})?(e[+-]?[0-9]{1,3})?|inf")
"""As the SDK writes its number."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """In seconds; None: no limit."""

    whole_s: float | None
    """For the whole answer."""
    silence_s: float | None
    """For each time in which a stream tells nothing of its answer."""


_NONE = TimeLimits(None, None)


def time_limits(headers: Headers, *, streamed: bool) -> TimeLimits:
    """What a request says.

    A client that is to get one body hears nothing before it, so that the SDKs' timeouts bound the answer.

    Raises:
        InferloomError: A header holds no such time.
    """
    if REQUEST not in headers and READ not in headers and HEAD not in headers:
        return _NONE
    whole = _seconds(headers, REQUEST, _NUMBER)
    read = _seconds(headers, READ, _PYTHON)
    head = None if headers.getlist(HEAD) == ["0"] else _seconds(headers, HEAD, _NUMBER)
    if streamed:
        return TimeLimits(whole, read)
    all_ = [each for each in (whole, read, head) if each is not None]
    return TimeLimits(min(all_, default=None), None)


def _seconds(headers: Headers, name: str, form: re.Pattern[str]) -> float | None:
    values = headers.getlist(name)
    if not values:
        return None
    if len(values) > 1:
        raise invalid(name, f"The header {name} is given {len(values)} times.")
    text = values[0].strip()
    if not form.fullmatch(text) or not (seconds := float(text)) > 0:
        raise _malformed(name, text)
    return seconds if math.isfinite(seconds) else None


def _malformed(name: str, value: str) -> InferloomError:
    return invalid(name, f"The header {name} is {shown(value)!r}; it must be a number of seconds above 0.")
