"""Schemas of arguments, as far as grammars can say them. Pure."""

from collections.abc import Mapping
from typing import Any

from inferloom_worker.constrain.schema_places import OF_NAMES, resolve

_MAPS = ("properties", "$defs", "definitions")

_UNSAID = frozenset(
    (
        *("uniqueItems", "contains", "minContains", "maxContains", "unevaluatedItems", "multipleOf"),
        *("not", "if", "then", "else", "dependencies", "dependentRequired", "dependentSchemas"),
        *("propertyNames", "patternProperties", "pattern", "format", "unevaluatedProperties"),
    )
)
"""Keywords that grammars may lack."""


def relaxed(schema: Any) -> Any:
    """The schema without keywords that grammars may lack, and without references that lead nowhere; of
    alternatives, any will do."""
    return _relaxed(schema, schema)


def _relaxed(schema: Any, root: Any) -> Any:
    if isinstance(schema, list):
        return [_relaxed(item, root) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _UNSAID or (key == "$ref" and resolve(root, {key: value}) is None):
            continue
        if key in _MAPS and isinstance(value, dict):
            made[key] = {name: _relaxed(part, root) for name, part in value.items()}
        elif key in ("enum", "const", "default", "examples"):
            made[key] = value
        else:
            made["anyOf" if key == "oneOf" and "anyOf" not in schema else key] = _relaxed(value, root)
    return made


_DEFINITIONS = ("$defs", "definitions")
_LITERAL = ("enum", "const", "default", "examples")
_MOVED = "#/$defs/root"


def standing_alone(root: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """A part of a schema as one of its own, in which references lead to what they lead to within ``root``."""
    own = {key: value for key, value in part.items() if key not in _DEFINITIONS}
    shared = {key: root[key] for key in _DEFINITIONS if key in root}
    if not _leads_elsewhere([own, shared]):
        return own | shared
    kept = {key: value for key, value in root.items() if key not in ("$id", "id", "$schema")}
    return {**_moved(own), "$defs": {"root": _moved(kept)}}


def _leads_elsewhere(value: Any) -> bool:
    """Whether there is a reference within the schema to something that is not in its definitions."""
    if isinstance(value, list):
        return any(map(_leads_elsewhere, value))
    if not isinstance(value, dict):
        return False
    reference = value.get("$ref")
    if isinstance(reference, str) and not reference.startswith(("#/$defs/", "#/definitions/")):
        return True
    return any(map(_leads_elsewhere, value.values()))


def _moved(value: Any, *, names: bool = False) -> Any:
    """What it is where the root is at ``_MOVED``; of ``names``, each has a schema."""
    if isinstance(value, list):
        return [_moved(item) for item in value]
    if not isinstance(value, dict):
        return value
    made: dict[str, Any] = {}
    for key, inner in value.items():
        if not names and key == "$ref" and (inner == "#" or str(inner).startswith("#/")):
            made[key] = _MOVED + str(inner)[1:]
        elif not names and key in _LITERAL:
            made[key] = inner
        else:
            made[key] = _moved(inner, names=not names and key in OF_NAMES)
    return made
