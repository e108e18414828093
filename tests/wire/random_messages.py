"""Protobuf messages at random, for asking servers what nobody would ask."""

import math
from random import Random
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)

TEXTS = (
    "",
    "echo",
    "a",
    "chat",
    "\0",
    "é漢🙂",
    "x" * 300,
    " ",
    "../..",
    "{}",
    '{"type":',
    "a" * 5000,
    "(",
    "-1",
)
BYTES = (b"", b"\xff\xfe", b"x" * 300, b"\0" * 17)
INTS = (0, 1, 2, 7, 100, 2**15, 2**31 - 1)
FLOATS = (0.0, 1.0, -1.0, 0.5, 2.0, 1e-30, 1e30, math.nan, math.inf, -math.inf)

_SIGNED = {FieldDescriptor.CPPTYPE_INT32: 31, FieldDescriptor.CPPTYPE_INT64: 63}
_UNSIGNED = {FieldDescriptor.CPPTYPE_UINT32: 32, FieldDescriptor.CPPTYPE_UINT64: 64}


def scribble(message: M, random: Random, part: float = 0.3, depth: int = 5) -> M:
    """Set about ``part`` of a message's fields to something, and return it."""
    for field in message.DESCRIPTOR.fields:
        if random.random() < part:
            _set(message, field, random, part, depth)
    return message


def _set(message: Message, field: Any, random: Random, part: float, depth: int) -> None:
    target: Any = getattr(message, field.name)
    kind = field.message_type
    if kind is not None and depth == 0:
        return
    if kind is not None and kind.GetOptions().map_entry:
        key, value = kind.fields_by_name["key"], kind.fields_by_name["value"]
        for _ in range(random.choice((1, 3, 40))):
            if value.message_type is not None:
                scribble(target[_scalar(key, random)], random, part, depth - 1)
            else:
                target[_scalar(key, random)] = _scalar(value, random)
    elif field.is_repeated:
        for _ in range(random.choice((1, 1, 2, 5))):
            if kind is not None:
                scribble(target.add(), random, part, depth - 1)
            else:
                target.append(_scalar(field, random))
    elif kind is not None:
        target.SetInParent()
        scribble(target, random, part, depth - 1)
    else:
        setattr(message, field.name, _scalar(field, random))


def _scalar(field: Any, random: Random) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return random.choice(BYTES if field.type == FieldDescriptor.TYPE_BYTES else TEXTS)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return random.random() < 0.5
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return random.choice(FLOATS)
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        known = [value.number for value in field.enum_type.values]
        return random.choice((*known, 77, -3))
    if kind in _UNSIGNED:
        return random.choice((*INTS, 2 ** _UNSIGNED[kind] - 1))
    return random.choice((*INTS, -1, 2 ** _SIGNED[kind] - 1, -(2 ** _SIGNED[kind])))
