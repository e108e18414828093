"""Server-sent events, as OpenAI clients read them."""

import orjson

from inferloom_gateway.http.json_line import json_line
from inferloom_mesh.errors import InferloomError, Reason

_END = b"\n\n"
_DONE = b"data: [DONE]"
DONE = _DONE + _END

KEEP_ALIVE = b": waiting\n"
"""A comment: it shows clients and proxies that the stream is alive, and means nothing. No empty line ends it,
because that would end an event too, and clients that have read an id before, such as OpenAI's own for Python,
take one without data for an event."""

HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
"""Of every stream."""

SILENCE_S = 15.0
"""How long a stream is silent before a comment is sent, in seconds; proxies wait for 30 at least."""

HOLE = "\0"
"""Stands for a text that is filled in later."""

_HOLE = orjson.dumps(HOLE)


def too_silent(limit_s: float) -> InferloomError:
    """The error of a stream that told nothing for as long as its client waits."""
    message = f"Nothing has come for the {limit_s:g} s that the client waits."
    return InferloomError(Reason.TIMEOUT, message)


def frame(value: object, event: str | None = None) -> bytes:
    """One event that carries ``value`` as JSON, of the kind ``event`` where events have kinds."""
    return framed(json_line(value), event)


def framed(data: bytes, event: str | None = None) -> bytes:
    """One event that carries ``data``, which :func:`json_line` has made."""
    kind = b"" if event is None else b"event: " + event.encode() + b"\n"
    return kind + b"data: " + data + b"\n\n"


def numbered(frames: bytes, first: int) -> tuple[bytes, int]:
    """Events with their numbers from ``first`` on as their ids, and the number of the next; ``[DONE]`` has
    none."""
    # One without a kind, as nearly always. Counting lines takes an eighth of what finding an empty one does.
    if frames.count(b"\n") == 2 and frames != DONE:
        return b"id: %d\n%b" % (first, frames), first + 1
    made = []
    for event in frames.split(_END)[:-1]:
        if event != _DONE:
            event, first = b"id: %d\n%b" % (first, event), first + 1
        made.append(event + _END)
    return b"".join(made), first


def after(frames: bytes, first: int, last: int) -> tuple[bytes, int]:
    """Of events with numbers from ``first`` on those behind the ``last``, and the number of the next;
    ``[DONE]`` has none, and is always left."""
    made = []
    for event in frames.split(_END)[:-1]:
        if event == _DONE or first > last:
            made.append(event + _END)
        first += event != _DONE
    return b"".join(made), first


def around(value: object) -> tuple[bytes, bytes]:
    """The bytes before and after the last :data:`HOLE` in the event that carries ``value``."""
    before, _, after = frame(value).rpartition(_HOLE)
    return before, after
