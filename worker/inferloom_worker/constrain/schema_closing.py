"""JSON Schemas for models that do not know when to stop. Pure.

What a schema leaves open without end (properties that nobody named, digits of a whole number) small models
use until they are cut. So an object that lists properties and does not say whether there may be others has
none, and a whole number without bounds is one that a float64 holds. What conforms still conforms to the
schema.
"""

import json
from collections.abc import Mapping
from typing import Any

_SHARED = ("allOf", "oneOf", "not", "if", "dependencies", "dependentSchemas", "unevaluatedProperties")
"""Keywords with which several schemas speak of one object."""

_BESIDE = (*_SHARED, "anyOf", "$ref", "patternProperties", "propertyNames", "additionalProperties")

_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "enum", "const")
_MOST = 2**53


def closed(schema: Any) -> Any:
    """The schema, closed where that is sure to leave what it asks for."""
    text = json.dumps(schema)
    return _closed(schema, definitions=not any(f'"{keyword}"' in text for keyword in _SHARED))


def closed_object(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same of an object that is a list of names and values, as a function's arguments are: one that lists
    none has none."""
    made: dict[str, Any] = closed({**schema, "type": "object"})
    open_ = any(keyword in made for keyword in _BESIDE)
    if not (open_ or made.get("properties") or made.get("required") or made.get("minProperties")):
        made["additionalProperties"] = False
    return made


def _closed(schema: Any, *, definitions: bool) -> Any:
    if not isinstance(schema, dict):
        return schema
    made = dict(schema)
    for keyword in ("$defs", "definitions"):
        if definitions and isinstance(parts := made.get(keyword), dict):
            made[keyword] = {name: _closed(part, definitions=definitions) for name, part in parts.items()}
    if any(keyword in made for keyword in (*_SHARED, "$ref")):
        return made  # another schema may speak of what is in it
    if isinstance(parts := made.get("properties"), dict):
        made["properties"] = {name: _closed(part, definitions=definitions) for name, part in parts.items()}
    for keyword in ("anyOf", "prefixItems"):
        if isinstance(listed := made.get(keyword), list) and (keyword != "anyOf" or "properties" not in made):
            made[keyword] = [_closed(part, definitions=definitions) for part in listed]
    if "items" in made:
        made["items"] = _closed(made["items"], definitions=definitions)
    if made.get("type") == "integer" and not any(keyword in made for keyword in _BOUNDS):
        made |= {"minimum": -_MOST, "maximum": _MOST}
    if _lists_properties(made) and not any(keyword in made for keyword in _BESIDE):
        made["additionalProperties"] = False
    return made


def _lists_properties(schema: dict[str, Any]) -> bool:
    """Whether it is of an object whose listed properties can be all that it has."""
    listed, needed = schema.get("properties"), schema.get("required", [])
    least = schema.get("minProperties", 0)
    return (
        isinstance(listed, dict)
        and bool(listed)
        and isinstance(needed, list)
        and all(name in listed for name in needed)
        and isinstance(least, int)
        and least <= len(listed)
    )
