"""What rules can say of a function's schema where arguments stand between tags, and what not. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from inferloom_worker.constrain.patterns import Work, whole_texts, work
from inferloom_worker.constrain.schema_places import ANNOTATIONS, resolve
from inferloom_worker.constrain.schema_types import names_of, same, values_of
from inferloom_worker.output.calls.raw_values import (
    OPENERS,
    Written,
    kind_of,
    named_schemas,
    stated_kinds,
    types_within,
    value_of,
    written,
)
from inferloom_worker.output.calls.tagged_presence import CONDITIONS, Presence, is_of_presence, names_within

_OF_OBJECTS = frozenset(
    (
        *("$dynamicRef", "$recursiveRef", "$ref", "const", "dependencies", "dependentSchemas", "else"),
        *("enum", "if", "propertyNames", "then", "unevaluatedProperties", *CONDITIONS),
    )
)
"""Keywords that say something of objects, and are said by rules only where they are of nothing but which
properties there are."""

_OF_TEXT = frozenset(("format", "pattern", "minLength", "maxLength"))
_DEEPEST = 8
_MOST_LOOKS = 4000
_LOOKS_OF_A_STEP = 16
"""Parts of a condition that are looked at in about the time of a step of a pattern's."""


@dataclass(frozen=True, slots=True)
class TaggedArguments:
    """What a function's schema says of its arguments, as far as rules can say it."""

    listed: Mapping[str, Any]
    """By name. Those that are needed, or that others depend on, and are not listed have the schema of all
    others."""
    needed: frozenset[str]
    patterns: Mapping[str, Any]
    """The schemas of others whose names have these patterns."""
    more: Any
    """The schema of all others."""
    condition: Mapping[str, Any]
    """What all together must be, as a schema of which properties there are."""

    @classmethod
    def of(cls, root: dict[str, Any]) -> "TaggedArguments":
        """Those of a function's schema."""
        top = resolve(root, root)
        schema = top if isinstance(top, dict) else {}
        condition = {
            keyword: schema[keyword]
            for keyword in CONDITIONS
            if keyword in schema and is_of_presence({keyword: schema[keyword]})
        }
        properties, needed, steps = schema.get("properties") or {}, names_of(schema), work()
        unlisted = {
            name: _schema_of(schema, name, steps)
            for name in (*needed, *sorted(set(names_within(condition))))
            if name not in properties
        }
        return cls(
            {**properties, **unlisted},
            frozenset(needed),
            schema.get("patternProperties") or {},
            schema.get("additionalProperties", True),
            condition,
        )

    def presence(self, possible: frozenset[str], *, more: bool) -> Presence | None:
        """Which of them there may be together, where these can be given, and perhaps others. None: it takes
        too long to tell, or no arguments can be."""
        names = list(self.listed)
        if not self.condition:
            found: Presence | None = Presence(names, self.needed, possible, {}, more=more)
        else:
            asked = [names, sorted(self.needed), sorted(possible), self.condition, more]
            found = work().once(_presence, json.dumps(asked))
        return found if found is not None and found.fits and found.levels[0] else None


def _presence(text: str) -> tuple[Presence, int]:
    """What is told of a condition, and the steps that it took."""
    names, needed, possible, condition, more = json.loads(text)
    found = Presence(names, frozenset(needed), frozenset(possible), condition, more=more)
    return found, found.work // _LOOKS_OF_A_STEP


def _schema_of(schema: Mapping[str, Any], name: str, steps: Work) -> Any:
    parts = named_schemas(schema, name, steps)
    if parts is None:  # what conforms to all that it may be conforms to what it is
        patterns = schema.get("patternProperties") or {}
        parts = [*patterns.values(), schema.get("additionalProperties", True)]
    return parts[0] if len(parts) == 1 else {"allOf": parts}


def unsaid(schema: Mapping[str, Any]) -> list[str]:
    """What of a function's schema is not enforced where arguments stand between tags, by name."""
    root = dict(schema)
    top = resolve(root, root)
    if not isinstance(top, dict):
        return ["'$ref'"]
    asked, looks = TaggedArguments.of(root), looks_at()
    found = [f"'{keyword}'" for keyword in top if keyword in _OF_OBJECTS and keyword not in asked.condition]
    if asked.patterns and not _tells_names_apart(asked, top.get("properties") or {}):
        found.append("'patternProperties'")
    possible = []
    for name, part in asked.listed.items():
        branches = Branches(root, part, looks)
        possible += [name] if branches.found else []
        found += _unsaid_of(root, name, part, branches, needed=name in asked.needed)
        if not name or set(name) & set('<>"\n'):
            found.append(f"the name '{name}'")
    more = False
    for name, part in (*asked.patterns.items(), ("additionalProperties", asked.more)):
        branches = Branches(root, part, looks)
        more = more or bool(branches.found)
        found += _unsaid_of(root, name, part, branches)
    if asked.condition and asked.presence(frozenset(possible), more=more) is None:
        found += [f"'{keyword}'" for keyword in asked.condition]
    return found


def _tells_names_apart(asked: TaggedArguments, properties: Mapping[str, Any]) -> bool:
    """Whether names with patterns are no listed ones, or such as may have any value, and all patterns can be
    said."""
    plain = {"patternProperties": asked.patterns, "additionalProperties": True}
    steps = work()
    return all(whole_texts(pattern, steps) is not None for pattern in asked.patterns) and all(
        all(part in (True, {}) for part in named_schemas(plain, name, steps) or (False,))
        for name in properties
    )


def _unsaid_of(root: Any, name: str, part: Any, branches: "Branches", *, needed: bool = False) -> list[str]:
    """What of the schema of an argument is not enforced."""
    if not branches.whole or (needed and not branches.found):
        return [f"'{name}'"]
    found = []
    texts = [each for each in branches.found if written(types_within(root, each)) is not Written.JSON]
    for each in texts:
        found += [f"'{keyword}' of '{name}'" for keyword in sorted(_unsaid_of_text(root, each))]
    listed = [value for each in texts for value in values_of(each) or () if isinstance(value, str)]
    if any("</" in value for value in listed):
        found.append(f"'{name}'")
    # No text begins as objects do where there may be objects, and so with arrays.
    others = [
        each
        for each in branches.found
        if each not in texts and not types_within(root, each) <= OPENERS.keys()
    ]
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
    return said - {"type", "pattern", "minLength", "maxLength"} - ({"allOf"} if texts_of(branch) else set())


def texts_of(branch: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The schemas of texts of which a value conforms to all: its own, and those beside it. Empty: they are of
    more than texts' patterns and lengths."""
    found = [branch]
    for part in branch.get("allOf", ()):
        if not isinstance(part, dict) or set(part) - _OF_TEXT - {"type", "allOf"} - ANNOTATIONS:
            return []
        if "format" in part or part.get("type", "string") != "string" or not (parts := texts_of(part)):
            return []
        found += parts
    return found


def _is_only(schema: Mapping[str, Any], keyword: str) -> bool:
    """Whether a schema says nothing else of a value."""
    return set(schema) <= {keyword} | ANNOTATIONS


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
        elif isinstance(parts := part.get("allOf"), list) and len(parts) == 1 and _is_only(part, "allOf"):
            self._add(parts[0], depth + 1)
        elif isinstance(parts := part.get("anyOf"), list) and _is_only(part, "anyOf"):
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
