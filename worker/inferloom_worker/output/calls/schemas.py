"""Schemas of arguments, as they are enforced. Pure."""

from collections.abc import Mapping
from typing import Any

from inferloom_worker.constrain.schema_places import OF_NAMES, resolve

_OPEN = ("allOf", "oneOf", "not", "if", "then", "else", "patternProperties", "unevaluatedProperties", "$ref")
"""Keywords beside which an object may need properties that are not listed here."""
_MAPS = ("properties", "$defs", "definitions")
_PARTS = ("items", "anyOf", "prefixItems")


def arguments_schema(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a function's arguments: an object, in which nothing may stand that no property names.

    What conforms to it conforms to ``parameters``, where that leaves open whether there may be more: models
    that may write any property do not end.
    """
    closed: dict[str, Any] = _closed({**parameters, "type": "object"})
    return closed


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = dict(schema)
    for key in _MAPS:
        if isinstance(made.get(key), dict):
            made[key] = {name: _closed(part) for name, part in made[key].items()}
    for key in _PARTS:
        if key in made:
            made[key] = _closed(made[key])
    if _is_object(made) and not any(key in made for key in (*_OPEN, "anyOf", "additionalProperties")):
        wanted = made.get("required", ())
        listed = made.get("properties", {})
        if all(name in listed for name in wanted) and made.get("minProperties", 0) <= len(listed):
            made["additionalProperties"] = False
    return made


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


def _is_object(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "object" or ("type" not in schema and "properties" in schema)
