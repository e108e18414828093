"""What rules can say of a function's schema where arguments stand between tags, and what not. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from inferloom_worker.constrain.schema_places import ANNOTATIONS, resolve
from inferloom_worker.constrain.schema_types import names_of, same, values_of
from inferloom_worker.output.calls.raw_values import (
    Written,
    kind_of,
    stated_kinds,
    types_within,
    value_of,
    written,
)

_OF_OBJECTS = frozenset(
    (
        *("$dynamicRef", "$recursiveRef", "$ref", "allOf", "anyOf", "const", "dependencies"),
        *("dependentRequired", "dependentSchemas", "else", "enum", "if", "maxProperties", "not", "oneOf"),
        *("patternProperties", "propertyNames", "then", "unevaluatedProperties"),
    )
)
"""Keywords that say something of objects, and are not said by rules."""

_OF_TEXT = frozenset(("format", "pattern", "minLength", "maxLength"))
_DEEPEST = 8
_MOST_LOOKS = 4000


@dataclass(frozen=True, slots=True)
class TaggedArguments:
    """What a function's schema says of its arguments, as far as rules can say it."""

    listed: Mapping[str, Any]
    """By name. Those that are needed and have no schema of their own have that of all others."""
    needed: frozenset[str]
    more: Any
    """The schema of all others."""

    @classmethod
    def of(cls, root: dict[str, Any]) -> "TaggedArguments":
        """Those of a function's schema."""
        top = resolve(root, root)
        schema = top if isinstance(top, dict) else {}
        more = schema.get("additionalProperties", True)
        properties, needed = schema.get("properties") or {}, names_of(schema)
        unlisted = {name: more for name in needed if name not in properties}
        return cls({**properties, **unlisted}, frozenset(needed), more)


def unsaid(schema: Mapping[str, Any]) -> list[str]:
    """What of a function's schema is not enforced where arguments stand between tags, by name."""
    root = dict(schema)
    top = resolve(root, root)
    if not isinstance(top, dict):
        return ["'$ref'"]
    found = [f"'{keyword}'" for keyword in top if keyword in _OF_OBJECTS]
    asked, looks = TaggedArguments.of(root), looks_at()
    if top.get("minProperties", 0) > len(asked.needed):
        found.append("'minProperties'")
    for name, part in asked.listed.items():
        found += _unsaid_of(root, name, part, looks, needed=name in asked.needed)
        if not name or set(name) & set('<>"\n'):
            found.append(f"the name '{name}'")
    return [*found, *_unsaid_of(root, "additionalProperties", asked.more, looks)]


def _unsaid_of(root: Any, name: str, part: Any, looks: Iterator[int], *, needed: bool = False) -> list[str]:
    """What of the schema of an argument is not enforced."""
    branches = Branches(root, part, looks)
    if not branches.whole or (needed and not branches.found):
        return [f"'{name}'"]
    found = []
    texts = [each for each in branches.found if written(types_within(root, each)) is not Written.JSON]
    for each in texts:
        found += [f"'{keyword}' of '{name}'" for keyword in sorted(_unsaid_of_text(root, each))]
    listed = [value for each in texts for value in values_of(each) or () if isinstance(value, str)]
    if any("</" in value for value in listed):
        found.append(f"'{name}'")
    others = [each for each in branches.found if each not in texts]
    if texts and any(set(each) - {"type"} - ANNOTATIONS for each in others):
        types = types_within(root, part)
        plain = all(values_of(each) is not None for each in texts)
        if not plain or any(value_of(types, value) != value for value in listed):
            found.append(f"'{name}'")  # a text may be read as one of the others
    return found


def _unsaid_of_text(root: Any, branch: dict[str, Any]) -> set[str]:
    """Keywords that are not enforced of what is written as a text."""
    said = set(branch) - ANNOTATIONS
    if written(types_within(root, branch)) is Written.EITHER:
        return said - {"type"}
    if values_of(branch) is not None:
        return said - {"type", "enum", "const"}
    return said - ({"type", "pattern"} if "pattern" in said else {"type", "minLength", "maxLength"})


def looks_at() -> Iterator[int]:
    """The schemas that are looked at for a function's: references may lead to the same again and again."""
    return iter(range(_MOST_LOOKS))


class Branches:
    """The alternatives of a value's schema, as far as it is nothing but that.

    Args:
        root: What references are to.
        part: The value's schema.
        looks: Those that are left, of :func:`looks_at`.
    """

    def __init__(self, root: Any, part: Any, looks: Iterator[int]) -> None:
        self._root = root
        self._looks = looks
        self.found: list[dict[str, Any]] = []
        """None: there is no such value."""
        self.whole = True
        """Whether they say all of it. Otherwise any value is among them."""
        self._add(part, 0)
        if not self.whole:
            self.found = [{}]

    def _add(self, part: Any, depth: int) -> None:
        part = resolve(self._root, part)
        if part is True:
            self.found.append({})
        elif part is False:
            next(self._looks, None)
        elif not isinstance(part, dict) or depth > _DEEPEST or next(self._looks, None) is None:
            self.whole = False
        elif isinstance(parts := part.get("anyOf"), list) and set(part) <= {"anyOf"} | ANNOTATIONS:
            for each in parts if self.whole else ():
                self._add(each, depth + 1)
        else:
            self.found += self._by_type(part)

    def _by_type(self, part: dict[str, Any]) -> list[dict[str, Any]]:
        """A schema, apart for texts and for other values."""
        kinds = stated_kinds(part)
        values = values_of(part)
        if values is not None and "string" in kinds and set(part) <= {"type", "enum", "const"} | ANNOTATIONS:
            fitting = [value for value in values if kind_of(value) in kinds]
            if "const" in part and "enum" in part:
                fitting = [value for value in fitting if any(same(value, each) for each in part["enum"])]
            texts = [value for value in fitting if isinstance(value, str)]
            others = [value for value in fitting if not isinstance(value, str)]
            return [{"enum": listed} for listed in (texts, others) if listed]
        if isinstance(types := part.get("type"), list) and "string" in types and values is None:
            bare = {key: value for key, value in part.items() if key not in _OF_TEXT}
            return [{**(part if each == "string" else bare), "type": each} for each in types]
        return [part]
