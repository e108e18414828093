"""Schemas of what does not conform to a schema. Pure.

A schema is the conjunction of its keywords, so what does not conform violates one of them. For some keywords
there is a schema of their violations; what violates only others is left out. So every value of the result
violates the schema, and the result may lack some that do.
"""

import re
from collections.abc import Iterator
from typing import Any

from inferloom_worker.constrain.patterns import Work, no_text
from inferloom_worker.constrain.schema_places import ANNOTATIONS, Schema, resolve
from inferloom_worker.constrain.schema_types import TYPES, names_of, property_schema, same, type_of, values_of

MOST_PARTS = 24
"""Alternatives of one negation."""

MOST_VALUES = 1000
"""Values listed by a schema of which a negation is made."""

MOST_CHARACTERS = 56
"""Characters of a text that those of others are told by: each is a level of their pattern."""

_DEPTH = 8

_OF_SIZE = {
    "minLength": ("string", "maxLength", -1),
    "maxLength": ("string", "minLength", 1),
    "minItems": ("array", "maxItems", -1),
    "maxItems": ("array", "minItems", 1),
    "minProperties": ("object", "maxProperties", -1),
    "maxProperties": ("object", "minProperties", 1),
}
"""A bound of a size: the type that it is of, the keyword of what violates it, and how far it is from it."""

_OF_NUMBERS = {
    "minimum": "exclusiveMaximum",
    "maximum": "exclusiveMinimum",
    "exclusiveMinimum": "maximum",
    "exclusiveMaximum": "minimum",
}

_NEGATED = frozenset(
    (
        *("type", "const", "enum", "required", "pattern", "properties", "allOf", "anyOf", "not", "$ref"),
        *_OF_SIZE,
        *_OF_NUMBERS,
    )
)
"""Keywords whose violations all have a schema."""


def conjunction(parts: list[Any]) -> dict[str, Any]:
    """The schema of what conforms to each."""
    return parts[0] if len(parts) == 1 and isinstance(parts[0], dict) else {"allOf": parts}


def alternatives(parts: list[dict[str, Any]]) -> Schema:
    """The schema of what conforms to any; False where there is none."""
    return {"anyOf": parts} if len(parts) > 1 else parts[0] if parts else False


class Negation:
    """Schemas of what does not conform to schemas within ``root``.

    Args:
        root: What references are to.
        steps: Those that may be taken for patterns.
        budget: Schemas that may be looked at; what is not known by then is left out.
    """

    def __init__(self, root: Schema, steps: Work, budget: int = 5000) -> None:
        self._root = root
        self._steps = steps
        self._budget = budget
        self.exact = True
        """Whether nothing was left out so far."""

    def of(self, schema: Any, given: Any = True, depth: int = 0) -> list[dict[str, Any]]:
        """Schemas that together have values which do not conform to ``schema``, and no others, as far as they
        conform to ``given``, which makes them simpler."""
        self._budget -= 1
        if isinstance(schema, dict) and set(schema) - _NEGATED - ANNOTATIONS:
            self.exact = False
        schema = resolve(self._root, schema)
        if schema is False:
            return [{}]
        if not isinstance(schema, dict):
            return []
        if depth > _DEPTH or self._budget < 0:
            self.exact = False
            return []
        found: list[dict[str, Any]] = []
        given = resolve(self._root, given)
        for part in self._violations(schema, given if isinstance(given, dict) else {}, depth):
            if len(found) == MOST_PARTS:
                self.exact = False
                break
            found.append(part)
        return found

    def _violations(
        self, schema: dict[str, Any], given: dict[str, Any], depth: int
    ) -> Iterator[dict[str, Any]]:
        if (stated := schema.get("type")) is not None:
            names = stated if isinstance(stated, list) else [stated]
            self.exact = self.exact and "integer" not in names
            taken = {"number" if name == "integer" else name for name in names}
            if rest := [name for name in TYPES if name not in taken]:
                yield {"type": rest}
        values = values_of(schema)
        listed = values_of(given)
        if values is not None and not self._affords(values, listed):
            self.exact = False
        elif values is not None:
            if listed is not None:
                if others := [each for each in listed if not any(same(each, value) for value in values)]:
                    yield {"enum": others}
            else:
                self.exact = self.exact and not {"array", "object"} & set(map(type_of, values))
                self.exact = self.exact and all(len(v) <= MOST_CHARACTERS for v in values if type(v) is str)
                yield from _other_values(values)
        yield from _other_sizes(schema)
        if isinstance(pattern := schema.get("pattern"), str):
            if (without := no_text(pattern, self._steps)) is None:
                self.exact = False
            else:
                yield {"type": "string", "pattern": f"^(?:{without})$"}
        for name in names_of(schema):
            yield {"type": "object", "properties": {name: False}}
        properties = schema.get("properties")
        for name, part in properties.items() if isinstance(properties, dict) else ():
            if opposite := self.of(part, property_schema(given, name), depth + 1):
                yield {"type": "object", "properties": {name: alternatives(opposite)}, "required": [name]}
        yield from self._of_combined(schema, given, depth)

    def _affords(self, values: list[Any], others: list[Any] | None) -> bool:
        """Whether values may be looked at, each beside each of the others; sixteen count as a schema."""
        cost = len(values) * max(len(others or ()), 1) // 16
        if len(values) > MOST_VALUES or cost > self._budget:
            return False
        self._budget -= cost
        return True

    def _of_combined(
        self, schema: dict[str, Any], given: dict[str, Any], depth: int
    ) -> Iterator[dict[str, Any]]:
        if isinstance(parts := schema.get("allOf"), list):
            for part in parts:
                yield from self.of(part, given, depth + 1)
        for keyword in ("anyOf", "oneOf"):  # what conforms to none of them
            if isinstance(parts := schema.get(keyword), list):
                self.exact = self.exact and keyword == "anyOf"
                opposites = [self.of(part, given, depth + 1) for part in parts]
                if all(opposites):
                    yield conjunction([alternatives(opposite) for opposite in opposites])
        if "not" in schema and schema["not"] is not False:
            inner = resolve(self._root, schema["not"])
            yield inner if isinstance(inner, dict) else {}
        if "$ref" in schema:
            self.exact = False
            target = resolve(self._root, {"$ref": schema["$ref"]})
            if target is not None and target != schema:
                yield from self.of(target, given, depth + 1)


def _other_sizes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for keyword, (kind, opposite, step) in _OF_SIZE.items():
        size = schema.get(keyword)
        if isinstance(size, int) and not isinstance(size, bool) and size + step >= 0:
            yield {"type": kind, opposite: size + step}
    for keyword, opposite in _OF_NUMBERS.items():
        bound = schema.get(keyword)
        if isinstance(bound, int | float) and not isinstance(bound, bool):
            yield {"type": "number", opposite: bound}


def _other_values(values: list[Any]) -> Iterator[dict[str, Any]]:
    """Schemas of the values that are not among some."""
    kinds = {type_of(value) for value in values}
    if others := [name for name in TYPES if name not in kinds]:
        yield {"type": others}
    if texts := [value for value in values if isinstance(value, str)]:
        yield {"type": "string", "pattern": f"^{_other_texts(texts)}$"}
    for flag in (True, False):
        if "boolean" in kinds and not any(value is flag for value in values):
            yield {"enum": [flag]}
    numbers = sorted(value for value in values if type_of(value) == "number")
    for below, above in zip([None, *numbers], [*numbers, None], strict=True):
        if numbers and below != above:
            least = {} if below is None else {"exclusiveMinimum": below}
            yield {"type": "number", **least, **({} if above is None else {"exclusiveMaximum": above})}


def _other_texts(texts: list[str]) -> str:
    """A regular expression for every text that is not among some, but for those that begin with more than
    MOST_CHARACTERS of one of them."""
    return _after(list(dict.fromkeys(text[: MOST_CHARACTERS + 1] for text in texts)))


def _after(rests: list[str], depth: int = 0) -> str:
    """What may follow where ``rests`` are what must not."""
    firsts: dict[str, list[str]] = {}
    for rest in rests:
        if rest:
            firsts.setdefault(rest[0], []).append(rest[1:])
    any_other = "".join(re.escape(c) if c.isascii() else c for c in firsts)
    ways = [f"[^{any_other}](?s:.)*" if any_other else "(?s:.)+"]
    for first, further in firsts.items() if depth < MOST_CHARACTERS else ():
        inner = _after(further, depth + 1)
        ways.append((re.escape(first) if first.isascii() else first) + inner)
    # The text may end here unless it is one of them.
    return f"(?:{'|'.join(ways)})" if "" in rests else f"(?:{'|'.join(ways)})?"
