"""Checks a request against its rows of the parameter table."""

import math
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from inferloom.parameter_table import ContractField, Honour
from inferloom.parameters import FIELDS
from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, invalid, unsupported
from inferloom_mesh.named_fields import named
from inferloom_worker.validate import checks

_NOTHING: dict[str, Any] = {"chat.tool_choice": pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_NONE)}
"""Values of fields that no model honours with which they ask for nothing."""


@dataclass(slots=True)
class _Node:
    """A field on the way to rows, or with a row of its own."""

    repeated: bool = False
    row: ContractField | None = None
    numeric: bool = False
    """Whether the row is one number's; it is in range between these two:"""
    least: float = 0.0
    most: float = 0.0
    below: dict[str, "_Node"] = field(default_factory=dict)
    needed: list[str] = field(default_factory=list)
    """Lists below that must not be empty."""


def _tree(request: Descriptor) -> _Node:
    """The rows of a request that have something to check."""
    root = _Node()
    for row in FIELDS:
        checked = row.range or row.min_items or row.max_items or row.honoured_by is Honour.NONE
        if row.request != request.name or not checked:
            continue
        node = above = root
        message: Any = request  # Any: of what is no message, nothing is asked
        for name in row.path.replace("[]", "").split("."):
            at = message.fields_by_name[name]
            above, node = node, node.below.setdefault(name, _Node(at.is_repeated))
            message = at.message_type
        node.row = row = _stored(row)
        number = row.type in ("float", "uint32", "sint32") and row.honoured_by is not Honour.NONE
        if row.range is not None and number:
            above_least = math.nextafter(row.range.least, math.inf)
            node.numeric, node.most = True, row.range.most
            node.least = above_least if row.range.above else row.range.least
        if row.min_items:
            above.needed.append(name)
    return root


def _stored(row: ContractField) -> ContractField:
    """The row with its bounds as the field's type holds them: 0.01 is no float32."""
    if row.range is None or "float" not in row.type:
        return row
    least, most = struct.unpack("<2f", struct.pack("<2f", row.range.least, row.range.most))
    return replace(row, range=replace(row.range, least=least, most=most))


_CHECKED = (pb.GenerateRequest, pb.EmbedRequest, pb.RerankRequest)
_TREES = {request: _tree(request.DESCRIPTOR) for request in _CHECKED}


def check_fields(request: pb.GenerateRequest | pb.EmbedRequest | pb.RerankRequest) -> None:
    """Refuse a value that is outside of its field's range, and a field that no model honours.

    Raises:
        InferloomError: INVALID_ARGUMENT or UNSUPPORTED_PARAMETER, at the field.
    """
    _check(request, _TREES[type(request)], "")


_OPTIONAL = {
    row.capability: (row.path, row.default)
    for row in FIELDS
    if row.request == "GenerateRequest" and row.honoured_by in (Honour.GENERATING, Honour.INFILLING)
}


_Missing = Mapping[tuple[str, ...], Mapping[str, float | None]]


@lru_cache(maxsize=256)
def _missing(honoured: tuple[str, ...]) -> _Missing:
    """The fields that a model which honours those does not, by the message that they are in, each with the
    value that asks for nothing."""
    found: dict[tuple[str, ...], dict[str, float | None]] = {}
    for capability, (path, default) in _OPTIONAL.items():
        if capability not in honoured:
            *way, name = path.split(".")
            found.setdefault(tuple(way), {})[name] = default
    return found


def check_honoured(request: pb.GenerateRequest, honoured: Collection[str]) -> None:
    """Refuse a field that models which generate may honour, and this one does not; one that has its default
    asks for nothing.

    Raises:
        InferloomError: UNSUPPORTED_PARAMETER, at the field.
    """
    for way, names in _missing(tuple(honoured)).items():
        message: Any = request
        for part in way:
            message = getattr(message, part)
        asked = {each.name: value for each, value in message.ListFields() if each.name in names}
        for name, default in names.items() if asked else ():
            if name in asked and (default is None or asked[name] != default):
                path = ".".join((*way, name))
                raise unsupported(path, f"The model '{request.model}' does not support {named(path)}.")


def _check(message: Message, node: _Node, prefix: str) -> None:
    for name in node.needed:
        if not getattr(message, name):
            raise invalid(prefix + name, f"{prefix}{name} must hold at least one entry.")
    for descriptor, value in message.ListFields():  # those that are set
        at = node.below.get(descriptor.name)
        if at is None or (at.numeric and at.least <= value <= at.most):
            continue
        path = prefix + descriptor.name
        if at.row is not None:
            _check_value(at.row, path, value)
        if not at.below:
            continue
        if at.repeated:
            for index, item in enumerate(value):
                _check(item, at, f"{path}[{index}].")
        else:
            _check(value, at, f"{path}.")


def _check_value(row: ContractField, path: str, value: Any) -> None:
    if row.honoured_by is Honour.NONE:
        if value == _NOTHING.get(path):
            return
        raise unsupported(path)
    many = row.type.startswith(("repeated ", "map<"))
    if many and row.max_items is not None:
        checks.at_most(path, len(value), row.max_items)
    if row.range is None:
        return
    for where, item in _items(path, value) if many else ((path, value),):
        measured = item if row.unit not in ("characters", "bytes") else _length(item, row.unit)
        if measured not in row.range:
            raise outside(row, where, measured)


def _items(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
    return ((f"{path}[{key}]", item) for key, item in pairs)


def _length(text: str, unit: str) -> int:
    return len(text) if unit == "characters" else len(text.encode())


def outside(row: ContractField, path: str, value: float) -> InferloomError:
    """The error for a value that is not in the row's range."""
    assert row.range is not None
    if row.unit not in ("characters", "bytes"):
        return invalid(path, f"{path} must be {row.range.words()}, not {value:g}.")
    if value == 0:
        return invalid(path, f"{path} must not be empty.")
    return invalid(path, f"{path} can have at most {row.range.most:g} {row.unit}, not {value}.")
