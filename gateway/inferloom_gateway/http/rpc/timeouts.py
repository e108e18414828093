"""How long a caller waits, as each protocol's header says it."""

import re

from inferloom_mesh.errors import InferloomError, Reason, shown

_CONNECT = re.compile(r"[0-9]{1,10}")
_GRPC = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def connect_timeout(value: str | None) -> float | None:
    """Seconds that ``connect-timeout-ms`` gives; None: no limit. Raises InferloomError if it is malformed."""
    if value is None:
        return None
    if not _CONNECT.fullmatch(value):
        raise _malformed("connect-timeout-ms", value, "up to 10 digits")
    return int(value) / 1000


def grpc_timeout(value: str | None) -> float | None:
    """Seconds that ``grpc-timeout`` gives; None: no limit. Raises InferloomError if it is malformed."""
    if value is None:
        return None
    found = _GRPC.fullmatch(value)
    if found is None:
        raise _malformed("grpc-timeout", value, "up to 8 digits and one of H, M, S, m, u and n")
    return int(found[1]) * _UNITS[found[2]]


def _malformed(name: str, value: str, form: str) -> InferloomError:
    message = f"The header {name} is {shown(value)!r}; it must be {form}."
    return InferloomError(Reason.INVALID_ARGUMENT, message)
