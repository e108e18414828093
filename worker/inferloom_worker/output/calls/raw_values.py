"""Values of arguments that are written without quotes: what a text stands for depends on the schema. Pure."""

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any

from inferloom_worker.constrain.schema_places import resolve
from inferloom_worker.constrain.schema_types import TYPES, type_of, types_of

_WORDS: Mapping[str, Any] = {"True": True, "False": False, "None": None}
"""What templates make of values that JSON spells otherwise."""

_DEEPEST = 8


class Written(Enum):
    """How values of a schema are written."""

    TEXT = "text"
    """As they are: they are strings."""
    JSON = "json"
    """As JSON: none is a string."""
    EITHER = "either"
    """Strings as they are, where they are no JSON of another type that the schema has; others as JSON."""


def written(types: frozenset[str]) -> Written:
    """How values of these types are written."""
    if types == {"string"}:
        return Written.TEXT
    return Written.EITHER if "string" in types else Written.JSON


def types_within(root: Any, schema: Any, depth: int = 0) -> frozenset[str]:
    """The types that values of a schema within ``root`` can have, as far as that is plain."""
    schema = resolve(root, schema)
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return frozenset(TYPES)
    found = types_of(schema)
    for keyword in ("anyOf", "oneOf"):
        if isinstance(parts := schema.get(keyword), list) and parts:
            found &= frozenset().union(*(types_within(root, part, depth + 1) for part in parts))
    return found


def argument_types(schema: Any, name: str) -> frozenset[str]:
    """The types that a function's argument can have, by the schema of all of them."""
    within = resolve(schema, schema)
    properties = within.get("properties") if isinstance(within, dict) else None
    if isinstance(properties, dict) and name in properties:
        return types_within(schema, properties[name])
    return types_within(
        schema, within.get("additionalProperties", True) if isinstance(within, dict) else True
    )


def value_of(types: frozenset[str], text: str) -> Any:
    """The value that a text is; what is no value of these types is a string."""
    if written(types) is Written.TEXT:
        return text
    word = text.strip()
    try:
        value = _WORDS[word] if word in _WORDS else json.loads(word)
    except (ValueError, RecursionError):
        return text
    if written(types) is Written.JSON:
        return value
    return value if type_of(value) in types - {"string"} else text
