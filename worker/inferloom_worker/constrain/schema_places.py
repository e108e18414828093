"""Where the parts of a JSON Schema are. Pure."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

Schema = dict[str, Any] | bool

ANNOTATIONS = frozenset(
    (
        *("$anchor", "$comment", "$defs", "$id", "$schema", "contentEncoding", "contentMediaType", "default"),
        *("definitions", "deprecated", "description", "examples", "id", "readOnly", "title", "writeOnly"),
    )
)
"""Keywords that say nothing of whether a value conforms."""

OF_NAMES = frozenset(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"))
"""Keywords whose values have schemas by name."""

OF_LISTS = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
"""Keywords whose values are lists of schemas."""

OF_ONE = frozenset(
    (
        *("additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "not"),
        *("propertyNames", "then", "unevaluatedItems", "unevaluatedProperties"),
    )
)
"""Keywords whose values are schemas."""


def is_schema(value: Any) -> bool:
    """Whether a value can be a schema."""
    return isinstance(value, dict | bool)


def map_parts(schema: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """The schema with every schema directly in it changed; what is malformed stays as it is."""
    result: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in OF_NAMES and isinstance(value, dict):
            result[keyword] = {name: change(part) for name, part in value.items()}
        elif (keyword in OF_LISTS or keyword == "items") and isinstance(value, list):
            result[keyword] = [change(part) for part in value]
        elif keyword == "dependencies" and isinstance(value, dict):
            result[keyword] = {n: change(part) if is_schema(part) else part for n, part in value.items()}
        elif keyword in OF_ONE or keyword == "items":
            result[keyword] = change(value)
        else:
            result[keyword] = value
    return result


def resolve(root: Schema, schema: Any) -> Any:
    """What a schema that is nothing but a reference within ``root`` refers to; any other is itself. None:
    there is no such place, or the references go round."""
    for _ in range(16):
        if not isinstance(schema, dict) or "$ref" not in schema:
            return schema
        if not set(schema) <= {"$ref"} | ANNOTATIONS:
            return schema
        schema = _at(root, schema["$ref"])
    return None


def steps_of(reference: Any) -> list[str] | None:
    """The names on the way from the root to what a reference leads to. None: it is no JSON pointer within
    the schema, but another document's place or an anchor."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    first, *steps = unquote(reference[1:]).split("/")
    return None if first else [step.replace("~1", "/").replace("~0", "~") for step in steps]


def walked(root: Any, steps: list[str]) -> list[Any] | None:
    """All that stands on a way, from the root to its end. None: it leads nowhere."""
    way = [root]
    for name in steps:
        found = way[-1]
        if isinstance(found, dict) and name in found:
            way.append(found[name])
        elif isinstance(found, list) and name.isdecimal() and len(name) < 10 and int(name) < len(found):
            way.append(found[int(name)])
        else:
            return None
    return way


def _at(root: Any, reference: Any) -> Any:
    steps = steps_of(reference)
    way = None if steps is None else walked(root, steps)
    return None if way is None else way[-1]
