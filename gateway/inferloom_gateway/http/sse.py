"""Server-sent events, as OpenAI clients read them."""

import orjson

DONE = b"data: [DONE]\n\n"

KEEP_ALIVE = b": waiting\n\n"
"""A comment: it shows clients and proxies that the stream is alive, and means nothing."""

HOLE = "\0"
"""Stands for a text that is filled in later."""

_HOLE = orjson.dumps(HOLE)


def frame(value: object) -> bytes:
    """One event that carries ``value`` as JSON."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


def around(value: object) -> tuple[bytes, bytes]:
    """The bytes before and after the last :data:`HOLE` in the event that carries ``value``."""
    before, _, after = frame(value).rpartition(_HOLE)
    return before, after
