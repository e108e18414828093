"""Names of requests: what the caller gives, or what the first door makes."""

import os
import re

HEADER = "x-request-id"
"""Of HTTP, and in a call's metadata: what its caller calls it."""

_VALID = re.compile(r"[!-~]{1,128}")


def new_request_id() -> str:
    """Make a name that no other request has."""
    return os.urandom(12).hex()


def is_request_id(name: str) -> bool:
    """Whether ``name`` can be a request's: 1 to 128 visible ASCII characters."""
    return _VALID.fullmatch(name) is not None
