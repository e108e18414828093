"""What becomes of body fields by the parameter table.

Hints that change nothing about an answer are accepted. Fields that are known and not supported are refused,
unless their value asks for nothing. Fields that nobody knows, at any depth, are ignored and named to the
caller, or refused where the gateway is strict; so are those of another type of object than the one in which
they stand. A field that is null is as if it were absent.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from inferloom.parameter_table import Meaning, RestEndpoint, RestParameter
from inferloom.parameters import ENDPOINTS
from inferloom_mesh.errors import InferloomError, Reason, unsupported
from inferloom_mesh.suggestion import nearest

IGNORED_HEADER = "x-inferloom-ignored"

_MOST_NAMED = 16
_MOST_CHARACTERS = 48
_MOST_HEADER = 960
_MOST_ERROR = 120
_MOST_LOGGED = 256

_FUNCTION, _CUSTOM, _NAMESPACE = (frozenset({kind, None}) for kind in ("function", "custom", "namespace"))
_ALLOWED, _GRAMMAR = frozenset({"allowed_tools"}), frozenset({"grammar", None})
_CALLS = frozenset({"function_call", "custom_tool_call"})
_RESULTS = frozenset({"function_call_output", "custom_tool_call_output"})
_CONVERSATION: dict[str, frozenset[str | None]] = {
    "messages.content.refusal": frozenset({"refusal"}),
    "messages.content.thinking": frozenset({"thinking"}),
    "messages.tool_calls.function": _FUNCTION,
    "messages.tool_calls.custom": _CUSTOM - {None},
    "tools.function": _FUNCTION,
    "tools.custom": _CUSTOM,
    "tools.custom.format.grammar": _GRAMMAR,
}
_OF_KINDS: dict[str, dict[str, frozenset[str | None]]] = {
    "chat": {
        **_CONVERSATION,
        "tool_choice.function": _FUNCTION,
        "tool_choice.custom": _CUSTOM,
        "tool_choice.allowed_tools": _ALLOWED,
        "tool_choice.allowed_tools.tools.function": _FUNCTION,
        "tool_choice.allowed_tools.tools.custom": _CUSTOM,
    },
    "tokenize": _CONVERSATION,
    "responses": {
        "input.role": frozenset({"message", None}),
        "input.content": frozenset({"message", "reasoning", None}),
        "input.content.refusal": frozenset({"refusal"}),
        "input.call_id": _CALLS | _RESULTS,
        "input.name": _CALLS | {"function_call_output"},
        "input.namespace": _CALLS | {"function_call_output"},
        "input.arguments": frozenset({"function_call"}),
        "input.input": frozenset({"custom_tool_call"}),
        "input.output": _RESULTS,
        "input.summary": frozenset({"reasoning"}),
        "input.encrypted_content": frozenset({"reasoning"}),
        "tools.parameters": _FUNCTION,
        "tools.strict": _FUNCTION,
        "tools.format": _CUSTOM,
        "tools.format.syntax": _GRAMMAR,
        "tools.format.definition": _GRAMMAR,
        "tools.tools": _NAMESPACE,
        "tools.tools.parameters": _FUNCTION,
        "tools.tools.strict": _FUNCTION,
        "tools.tools.format": _CUSTOM,
        "tools.tools.format.syntax": _GRAMMAR,
        "tools.tools.format.definition": _GRAMMAR,
        "tool_choice.name": _FUNCTION | _CUSTOM,
        "tool_choice.mode": _ALLOWED,
        "tool_choice.tools": _ALLOWED,
    },
}
"""By endpoint, fields that only objects of some types have: in others they are not read. A tool that does not
say its type is refused for that; an item is a message then, and a call one of a function."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Node:
    """A field that the table has, and the fields in it."""

    row: RestParameter | None = None
    below: dict[str, "_Node"] = field(default_factory=dict)
    plain: bool = True
    """Whether there is nothing to judge: it is not refused, has no fields, and may stand in any object."""
    kinds: frozenset[str | None] | None = None
    """The types of the objects that have it. None: all."""

    def names(self) -> list[str]:
        """What can be said here."""
        useful = (Meaning.FIELD, Meaning.OWN)
        return [name for name, at in self.below.items() if at.row is None or at.row.meaning in useful]


def _tree(endpoint: RestEndpoint) -> _Node:
    root = _Node()
    for row in endpoint.parameters.values():
        node = root
        for name in row.name.replace("[]", "").split("."):
            node.plain = False
            node = node.below.setdefault(name, _Node())
        node.row = row
        node.plain = node.plain and row.meaning is not Meaning.REFUSED
    for path, kinds in _OF_KINDS.get(endpoint.name, {}).items():
        node = root
        for name in path.split("."):
            node = node.below[name]
        node.plain, node.kinds = False, kinds
    return root


_TREES = {endpoint.name: _tree(endpoint) for endpoint in ENDPOINTS}


@dataclass(frozen=True, slots=True)
class Unknown:
    """A field that nobody knows."""

    path: str
    """Where it first stood, such as ``messages[0].nonsense``."""
    meant: str | None
    """A name that can stand there and is spelled alike."""

    @property
    def shown(self) -> str:
        """Its path, or the beginning of a long one."""
        return self.path if len(self.path) <= _MOST_CHARACTERS else self.path[: _MOST_CHARACTERS - 1] + "…"


def judge(endpoint: str, body: Mapping[str, Any]) -> list[Unknown]:
    """The fields that nobody knows, each name once at its place, the first ones of many.

    Raises:
        InferloomError: A field is known and not supported.
    """
    found: dict[tuple[int, str], Unknown] = {}
    _walk(body, _TREES[endpoint], None, found)
    return list(found.values())


_Place = tuple["_Place | None", str, int | None]
"""An object within a body: where it stands, its name there, and its index in a list of that name."""


def _walk(
    body: Mapping[str, Any], node: _Node, place: _Place | None, found: dict[tuple[int, str], Unknown]
) -> None:
    kind = body.get("type")
    if not isinstance(kind, str):
        kind = None
    for name, value in body.items():
        at = node.below.get(name)
        if value is None or (at is not None and at.plain):
            continue
        if at is None or (at.kinds is not None and kind not in at.kinds):
            key = (id(node), name)
            if key not in found and len(found) < _MOST_NAMED:
                meant = nearest(name, node.names()) if at is None else None
                found[key] = Unknown(_path(place) + name, meant)
        elif at.row is not None and at.row.meaning is Meaning.REFUSED:
            if not _asks_nothing(value, at.row):
                raise unsupported(_path(place) + name)
        elif not at.below:
            continue  # what is in it is free
        elif isinstance(value, dict):
            _walk(value, at, (place, name, None), found)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, dict):
                    _walk(item, at, (place, name, index), found)


def _path(place: _Place | None) -> str:
    """Such as ``messages[0].``; empty for the body itself."""
    if place is None:
        return ""
    around, name, index = place
    return f"{_path(around)}{name}." if index is None else f"{_path(around)}{name}[{index}]."


def _asks_nothing(value: Any, row: RestParameter) -> bool:
    # True equals 1 in Python, and means something else in JSON.
    return any(value == none and isinstance(value, bool) == isinstance(none, bool) for none in row.nothing)


def ignored_header(unknown: list[Unknown]) -> dict[str, str]:
    """The response header that names ignored fields, under 1 KB; none if there are none."""
    parts: list[str] = []
    for one in unknown:
        name = quote(one.shown, safe="[].")
        part = name if one.meant is None else f"{name} (did you mean {one.meant}?)"
        if sum(map(len, parts)) + 2 * len(parts) + len(part) > _MOST_HEADER:
            break
        parts.append(part)
    return {IGNORED_HEADER: ", ".join(parts)} if parts else {}


def unknown_parameters(unknown: list[Unknown]) -> InferloomError:
    """The error of a strict gateway: names the fields, the first of many."""
    parts: list[str] = []
    for one in unknown:
        if parts and sum(map(len, parts)) > _MOST_ERROR:
            parts.append("and others")
            break
        meant = "" if one.meant is None else f" (did you mean '{one.meant}'?)"
        parts.append(f"'{one.shown}'{meant}")
    many = "s" if len(unknown) > 1 else ""
    message = f"Unknown parameter{many}: {', '.join(parts)}."
    return InferloomError(Reason.UNKNOWN_PARAMETER, message, param=unknown[0].path)


class FieldPolicy:
    """Judges the bodies of one gateway, and logs each unknown name once.

    Args:
        strict: Whether unknown fields are refused.
    """

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._logged: set[tuple[str, str]] = set()

    def headers(self, endpoint: str, body: Mapping[str, Any]) -> dict[str, str]:
        """The response headers that tell what of a body was ignored. Callable from any thread.

        Raises:
            InferloomError: A field is known and not supported, or unknown and the gateway strict.
        """
        return self.ignored(endpoint, judge(endpoint, body))

    def ignored(self, endpoint: str, unknown: list[Unknown]) -> dict[str, str]:
        """The same for fields that are known to be unknown."""
        if not unknown:
            return {}
        if self._strict:
            raise unknown_parameters(unknown)
        for one in unknown:
            self._log(endpoint, one)
        return ignored_header(unknown)

    def _log(self, endpoint: str, unknown: Unknown) -> None:
        name = unknown.path.rpartition(".")[2][:_MOST_CHARACTERS]
        if (endpoint, name) in self._logged or len(self._logged) >= _MOST_LOGGED:
            return
        self._logged.add((endpoint, name))
        meant = "" if unknown.meant is None else f" (did you mean {unknown.meant}?)"
        log.info("%s: ignoring the unknown parameter %r%s", endpoint, unknown.shown, meant)
