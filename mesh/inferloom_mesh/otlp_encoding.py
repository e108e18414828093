"""Spans in the words of OTLP, as the bytes of ``opentelemetry.proto.collector.trace.v1``. Pure.

They are written field by field, by the numbers of ``trace.proto``, because what many spans have alike is then
encoded once: one of a dozen attributes takes 5 microseconds, where OpenTelemetry's SDK takes 60. The tests
read them with OpenTelemetry's own messages.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

Value = str | bool | int | float | tuple[str, ...]
Attributes = Mapping[str, Value]

INTERNAL, SERVER, CLIENT = 1, 2, 3
"""Kinds of spans: a part of something, an answer to others, a call to others."""

LONGEST_TEXT = 1024
"""Characters of a text that a span holds."""

MOST_TEXTS = 128
"""Texts of one attribute that a span holds."""

_BOOL, _INT, _DOUBLE = b"\x10", b"\x18", b"\x21"
_FAILED = b"\x7a\x02\x18\x02"
_FLAGS, _LINK_FLAGS = b"\x85\x01" + struct.pack("<I", 1), b"\x35" + struct.pack("<I", 1)
_fixed = struct.Struct("<Q").pack
_double = struct.Struct("<d").pack


def span(
    name: str,
    kind: int,
    at: tuple[str, str, str],
    times: tuple[int, int],
    attributes: Attributes,
    own: Attributes,
    *,
    error: bool = False,
    state: str = "",
    events: Iterable[tuple[str, int, Attributes]] = (),
    link: str = "",
) -> bytes:
    """A span, as one of a list's.

    Args:
        name: Its name.
        kind: What it is to others.
        at: Its trace, itself and its parent ("" for none), in hexadecimal digits.
        times: When it began and ended, in nanoseconds since 1970.
        attributes: Those that many spans have alike, which are kept encoded.
        own: Those that hardly another has.
        error: Whether it failed.
        state: The trace's state.
        events: What happened in it: a name, a moment, and more.
        link: The span of the same trace that it has to do with otherwise; empty: none.
    """
    trace, itself, parent = at
    trace_field = b"\x0a\x10" + bytes.fromhex(trace)
    parts = [
        trace_field,
        b"\x12\x08" + bytes.fromhex(itself),
        _head(name[:LONGEST_TEXT], kind),
        b"\x39" + _fixed(times[0]),
        b"\x41" + _fixed(times[1]),
        *[_kept(0x4A, key, _cut(value)) for key, value in attributes.items()],
        *[_pair(0x4A, key, value) for key, value in own.items()],
        _FLAGS,
    ]
    if parent:
        parts.append(b"\x22\x08" + bytes.fromhex(parent))
    if state:
        parts.append(_field(0x1A, state.encode()))
    for what, when, more in events:
        told = b"".join([_kept(0x1A, key, _cut(value)) for key, value in more.items()])
        parts.append(_field(0x5A, b"\x09" + _fixed(when) + _kept_text(0x12, what[:LONGEST_TEXT]) + told))
    if link:
        parts.append(_field(0x6A, trace_field + b"\x12\x08" + bytes.fromhex(link) + _LINK_FLAGS))
    if error:
        parts.append(_FAILED)
    return _field(0x12, b"".join(parts))


def resource_of(attributes: Attributes) -> bytes:
    """What the spans of a message come from."""
    return _field(0x0A, b"".join(_pair(0x0A, key, value) for key, value in attributes.items()))


def scope_of(name: str, version: str) -> bytes:
    """What has made the spans of a message."""
    return _field(0x0A, _kept_text(0x0A, name) + _kept_text(0x12, version))


def export_request(resource: bytes, scope: bytes, spans: Sequence[bytes]) -> bytes:
    """The message that is sent."""
    return _field(0x0A, resource + _field(0x12, scope + b"".join(spans)))


def rejected(answer: bytes) -> int:
    """How many spans an answer says were not taken; 0 if it says nothing that is understood."""
    if answer[:1] != b"\x0a":
        return 0
    _, at = _read_varint(answer, 1)
    return _read_varint(answer, at + 1)[0] if answer[at : at + 1] == b"\x08" else 0


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(data):
            return 0, at
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            break
    return value, at


def _cut(value: Value) -> Value:
    """What is kept of a value: callers choose some of them, and what is kept stays."""
    if isinstance(value, str):
        return value[:LONGEST_TEXT]
    if isinstance(value, tuple):
        return tuple(each[:LONGEST_TEXT] for each in value[:MOST_TEXTS])
    return value


@lru_cache(1024)
def _head(name: str, kind: int) -> bytes:
    return _field(0x2A, name.encode()) + b"\x30" + _varint(kind)


@lru_cache(4096, typed=True)
def _kept(tag: int, name: str, value: Any) -> bytes:
    return _pair(tag, name, value)


@lru_cache(1024)
def _kept_text(tag: int, text: str) -> bytes:
    return _field(tag, text.encode())


def _pair(tag: int, name: str, value: Value) -> bytes:
    return _field(tag, _kept_text(0x0A, name) + _field(0x12, _any(value)))


def _any(value: Value) -> bytes:
    value = _cut(value)
    if isinstance(value, str):
        return _field(0x0A, value.encode("utf-8", "replace"))
    if isinstance(value, bool):
        return _BOOL + _varint(int(value))
    if isinstance(value, int):
        return _INT + _varint(value & (1 << 64) - 1)
    if isinstance(value, float):
        return _DOUBLE + _double(value)
    return _field(0x2A, b"".join(_field(0x0A, _any(each)) for each in value))


def _field(tag: int, body: bytes) -> bytes:
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    return bytes((tag,)) + _varint(size) + body


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
