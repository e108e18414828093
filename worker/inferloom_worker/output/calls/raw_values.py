"""Values of arguments that are written without quotes: what a text stands for depends on the schema. Pure."""

import json
import math
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from inferloom_worker.constrain.patterns import Work, has_pattern
from inferloom_worker.constrain.schema_places import resolve
from inferloom_worker.constrain.schema_types import TYPES, type_of, values_of
from inferloom_worker.text.halves import without_halves

_WORDS: Mapping[str, Any] = {"True": True, "False": False, "None": None}
"""What templates make of values that JSON spells otherwise."""

_DEEPEST = 8
_MOST_LOOKS = 500
"""Schemas that are looked at for one: references may lead to the same ones again and again."""

KINDS = (*TYPES, "integer")
"""Types of which ``number`` has only the numbers that are not whole."""

OPENERS: Mapping[str, str] = {"object": "{", "array": "["}
"""What values begin with that may have strings in them, by type."""


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


def kind_of(value: Any) -> str:
    """Which of ``KINDS`` a JSON value is of."""
    kind = type_of(value)
    return "integer" if kind == "number" and (isinstance(value, int) or value.is_integer()) else kind


def stated_kinds(schema: Mapping[str, Any]) -> frozenset[str]:
    """The kinds of values that a schema's ``type`` has."""
    stated = schema.get("type")
    if stated is None:
        return frozenset(KINDS)
    names = {str(name) for name in (stated if isinstance(stated, list) else [stated])}
    return frozenset(names | {"integer"} if "number" in names else names)


def types_within(root: Any, schema: Any) -> frozenset[str]:
    """The kinds of values that a schema within ``root`` can have, as far as that is plain."""
    return _types_within(root, schema, 0, iter(range(_MOST_LOOKS)))


def _types_within(root: Any, schema: Any, depth: int, looks: Iterator[int]) -> frozenset[str]:
    schema = resolve(root, schema)
    if schema is False:
        return frozenset()
    if not isinstance(schema, dict) or depth > _DEEPEST or next(looks, None) is None:
        return frozenset(KINDS)
    found = stated_kinds(schema)
    if (values := values_of(schema)) is not None:
        found &= frozenset(map(kind_of, values))
    for keyword in ("anyOf", "oneOf"):
        if isinstance(parts := schema.get(keyword), list) and parts:
            some: frozenset[str] = frozenset()
            for part in parts:
                if some >= found:
                    break
                some |= _types_within(root, part, depth + 1, looks)
            found &= some
    for part in parts if isinstance(parts := schema.get("allOf"), list) else ():
        found &= _types_within(root, part, depth + 1, looks)
    return found


def argument_types(schema: Any, name: str, steps: Work) -> frozenset[str]:
    """The types that a function's argument can have, by the schema of all of them. Any, where it is not known
    which patterns its name has."""
    within = resolve(schema, schema)
    if not isinstance(within, dict):
        return types_within(schema, True)
    properties = within.get("properties")
    if isinstance(properties, dict) and name in properties:
        return types_within(schema, properties[name])
    found = frozenset(KINDS)
    for part in named_schemas(within, name, steps) or ():
        found &= types_within(schema, part)
    return found


def named_schemas(schema: Mapping[str, Any], name: str, steps: Work) -> list[Any] | None:
    """The schemas of a property that is not listed: those of the patterns that its name has, or else that of
    all others. None: it is not known which it has."""
    patterns = schema.get("patternProperties")
    found = []
    for pattern, part in patterns.items() if isinstance(patterns, Mapping) else ():
        if (has := has_pattern(pattern, name, steps)) is None:
            return None
        if has:
            found.append(part)
    return found or [schema.get("additionalProperties", True)]


def value_of(types: frozenset[str], text: str) -> Any:
    """The value that a text is; what is no value of these types is a string."""
    if written(types) is Written.TEXT:
        return text
    word = text.strip()
    try:
        value = (
            _WORDS[word] if word in _WORDS else json.loads(without_halves(word), parse_constant=_no_number)
        )
    except (ValueError, RecursionError):
        return text
    if isinstance(value, float) and not math.isfinite(value):
        return text
    if written(types) is Written.JSON:
        return value
    return value if kind_of(value) in types - {"string"} else text


def _no_number(name: str) -> Any:
    raise ValueError(name)
