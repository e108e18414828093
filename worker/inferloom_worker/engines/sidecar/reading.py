"""Values out of JSON that a stranger wrote: each is of its type, or it is malformed."""

from collections.abc import Mapping
from typing import Any

import orjson

from inferloom_worker.engines.sidecar.sse import MalformedError

MOST_ID = 2**32 - 1

Object = Mapping[str, Any]


def value(data: bytes) -> object:
    """Any JSON.

    Raises:
        MalformedError: It is none. So say the others of what they read.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        raise MalformedError("what is no JSON") from None


def parsed(data: bytes) -> Mapping[str, Any]:
    """A JSON object."""
    return obj(value(data), "an answer")


def obj(value: object, name: str) -> Mapping[str, Any]:
    """An object; an empty one for null."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedError(f"{name} that is no object")
    return value


def items(value: object, name: str, most: int) -> list[Any]:
    """A list; an empty one for null."""
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > most:
        raise MalformedError(f"{name} that is no list of at most {most}")
    return value


def text(value: object, name: str) -> str:
    """A text; an empty one for null."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedError(f"{name} that is no text")
    return value


def count(value: object, name: str) -> int:
    """A number of things; 0 for null."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_ID:
        raise MalformedError(f"{name} that is no count")
    return value


def token_ids(value: object, name: str = "token ids") -> list[int]:
    """Token ids; none for null."""
    found = items(value, name, 2**24)
    for each in found:
        if isinstance(each, bool) or not isinstance(each, int) or not 0 <= each <= MOST_ID:
            raise MalformedError(f"{name} that are none")
    return found


def number(value: object, name: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MalformedError(f"{name} that is no number")
    return max(-3e38, min(3e38, float(value)))
