"""Whether a grammar surely compiles in little time and memory: judged by all that is in it. Pure.

What the compiler makes of a schema grows with its text, but for a few things. What stands beside
alternatives, or beside a reference, it multiplies into these, and again where they are in one another;
patterns can say anything; and versions may do much for each place of a list that a count asks for. So a
schema is small if its text is, if it has nothing but keywords that multiply nothing, and if its counts are.
"""

import json
import re
from typing import Any

from inferloom_worker.constrain.grammar import Kind
from inferloom_worker.constrain.schema_places import ANNOTATIONS

MOST_CHARACTERS = 4096
MOST_PLACES = 1000
"""Places of lists that counts ask for, all together."""

_MOST_DIGITS = 20
"""Of a number's bound, which becomes a text of numbers digit by digit."""

_HARMLESS = ANNOTATIONS | {
    "const",
    "enum",
    "format",
    "maxLength",
    "minLength",
    "required",
    "type",
    "x-guidance",
}
_BOUNDS = frozenset(("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum"))
_COUNTS = frozenset(("maxItems", "minItems"))
_NAMED = frozenset(("$defs", "definitions", "properties"))
_LISTED = frozenset(("anyOf", "prefixItems"))
_PARTS = frozenset(("additionalItems", "additionalProperties"))
_ALONE = frozenset(("$ref", "anyOf"))
"""What its neighbours are multiplied into: it has none here."""

_DEFINED = re.compile(r"#(?:/(?:\$defs|definitions)/[^/]*)?")
"""A reference to what is looked through anyway."""


def is_small(kind: Kind, text: str) -> bool:
    """Whether a grammar is, whose ``text`` is what the compiler is given."""
    if len(text) > MOST_CHARACTERS or kind not in (Kind.CHOICE, Kind.JSON_SCHEMA):
        return False
    if kind is Kind.CHOICE:
        return True
    (grammar,) = json.loads(text)["grammars"]
    places, todo = 0, [grammar["json_schema"]]
    while todo:
        schema = todo.pop()
        if not isinstance(schema, dict):
            continue
        if _ALONE & set(schema) and len(set(schema) - ANNOTATIONS - {"x-guidance"}) > 1:
            return False
        for keyword, value in schema.items():
            if keyword in _COUNTS:
                places += value
            elif (parts := _parts(keyword, value)) is None:
                return False
            else:
                todo += parts
    return places <= MOST_PLACES


def _parts(keyword: str, value: Any) -> list[Any] | None:
    """The schemas in a keyword's value. None: it may be large without them."""
    if keyword in _NAMED:
        return list(value.values())
    if keyword in _LISTED or (keyword == "items" and isinstance(value, list)):
        return list(value)
    if keyword in _PARTS or keyword == "items":
        return [value]
    if keyword in _BOUNDS:
        return [] if len(str(value)) <= _MOST_DIGITS and "e" not in str(value) else None
    if keyword == "$ref":
        return [] if _DEFINED.fullmatch(value) else None
    return [] if keyword in _HARMLESS else None
