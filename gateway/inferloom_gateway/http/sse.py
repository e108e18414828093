"""Server-sent events, as OpenAI clients read them."""

import orjson

DONE = b"data: [DONE]\n\n"

KEEP_ALIVE = b": waiting\n"
"""A comment: it shows clients and proxies that the stream is alive, and means nothing. No empty line ends it,
because that would end an event too, and there are clients that read one without data."""

HOLE = "\0"
"""Stands for a text that is filled in later."""

_HOLE = orjson.dumps(HOLE)


def frame(value: object, event: str | None = None) -> bytes:
    """One event that carries ``value`` as JSON, of the kind ``event`` where events have kinds."""
    return framed(orjson.dumps(value), event)


def framed(data: bytes, event: str | None = None) -> bytes:
    """One event that carries ``data``, a line of JSON."""
    kind = b"" if event is None else b"event: " + event.encode() + b"\n"
    return kind + b"data: " + data + b"\n\n"


def around(value: object) -> tuple[bytes, bytes]:
    """The bytes before and after the last :data:`HOLE` in the event that carries ``value``."""
    before, _, after = frame(value).rpartition(_HOLE)
    return before, after
