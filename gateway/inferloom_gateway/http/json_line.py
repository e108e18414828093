"""JSON that is one line to everybody who reads lines."""

import re

import orjson

_ENDS = re.compile(rb"\xc2\x85|\xe2\x80[\xa8\xa9]")
"""U+0085, U+2028 and U+2029: JSON may have them as they are, and Python's ``str.splitlines`` ends a line at
each. So does httpx's ``iter_lines``, by which clients read events and files of results."""

_ESCAPED = {b"\xc2\x85": rb"\u0085", b"\xe2\x80\xa8": rb"\u2028", b"\xe2\x80\xa9": rb"\u2029"}


def json_line(value: object) -> bytes:
    """A value as JSON, in which nothing ends a line."""
    made = orjson.dumps(value)
    if made.isascii() or _ENDS.search(made) is None:
        return made
    return _ENDS.sub(lambda found: _ESCAPED[found[0]], made)
