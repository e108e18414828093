"""Whether an object of a JSON text has a key twice: a proxy before us may go by the first, and we by the
last."""

import json
from collections.abc import Iterable
from typing import Any

_COLON = b":"
_ESCAPED = b"\\u00"
"""How a colon could be hidden, and letters of a key."""


def repeated_key(raw: bytes | bytearray, document: Any) -> str | None:
    """A key that is twice in one object of ``raw``, of which ``document`` was read; None: there is none.

    Each member of an object has a colon. A text has as many as the members and the strings that were read of
    it, or else members were lost, since no string hides colons in escapes. Counting is much quicker than
    reading the text with a parser that tells its pairs, which only such texts are.
    """
    if _ESCAPED not in raw and raw.count(_COLON) == _colons(document):
        return None
    found: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                found.append(name)
            seen.add(name)

    try:
        json.loads(raw, object_pairs_hook=members)
    except (ValueError, RecursionError):
        return ""  # what one parser reads and the other does not is not clear either
    return found[0] if found else None


def _colons(document: Any) -> int:
    count = 0
    waiting: list[Any] = [document]
    while waiting:
        each = waiting.pop()
        values: Iterable[Any]
        if type(each) is dict:
            for key in each:
                count += 1 + key.count(":")
            values = each.values()
        else:
            values = each
        for value in values:
            kind = type(value)
            if kind is str:
                count += value.count(":")
            elif kind is dict or kind is list:
                waiting.append(value)
    return count
