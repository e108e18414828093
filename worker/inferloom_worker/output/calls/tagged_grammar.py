"""Arguments between tags as rules of a grammar. Pure.

Values that are not strings are JSON. Strings have no quotes, so that of their keywords ``enum``, ``const``,
``pattern`` and the lengths are said otherwise; what cannot be is told by :func:`unsaid`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from inferloom_worker.constrain.schema_places import ANNOTATIONS, resolve
from inferloom_worker.constrain.schema_types import values_of
from inferloom_worker.constrain.source import regex
from inferloom_worker.output.calls.form import Tags
from inferloom_worker.output.calls.raw_values import Written, types_within, written

_SHAPES = frozenset(("type", "properties", "required", "additionalProperties", "minProperties"))
_OF_TEXT = frozenset(("type", "enum", "const", "pattern", "minLength", "maxLength"))
_ANY = "(?s:.*)"


@dataclass(frozen=True, slots=True)
class Spelling:
    """How what is no rule of its own is written."""

    json: Callable[[Mapping[str, Any]], str]
    """A value in JSON, by its schema."""
    literal: Callable[[str], str]
    """A text, in which marks that are tokens stand as tokens."""
    begins_with_token: Callable[[str], bool]
    """Whether a text does."""


class TaggedRules:
    """Writes the rules of one function's arguments.

    Args:
        tags: Those of the form.
        schema: The function's, an object's.
        prefix: What the names of its rules begin with.
        spelling: How literals and JSON are written.
    """

    def __init__(self, tags: Tags, schema: Mapping[str, Any], prefix: str, spelling: Spelling) -> None:
        self._tags = tags
        self._root = dict(schema)
        self._prefix = prefix
        self._spelling = spelling
        self._shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
        self.rules: list[str] = []

    def write(self) -> str:
        """The name of the rule for all arguments; its own are then in ``rules``."""
        top = resolve(self._root, self._root)
        schema = top if isinstance(top, dict) else {}
        listed = schema.get("properties")
        properties: Mapping[str, Any] = listed if isinstance(listed, dict) else {}
        rest = f"{self._prefix}_{len(properties)}"
        more = schema.get("additionalProperties", True)
        if more is False:
            self.rules.append(f'{rest}: ""')
        else:
            begin, named = self._spelling.literal(self._tags.begin), self._spelling.literal(self._tags.named)
            key = f'{begin} /[^<>"\\n]{{1,64}}/ {named}'
            self.rules.append(f"{rest}_more: {key} {self._value(f'{rest}_value', more)}")
            self.rules.append(f"{rest}: {rest}_more*")
        for at, (name, part) in reversed(list(enumerate(properties.items()))):
            after, here = f"{self._prefix}_{at + 1}", f"{self._prefix}_{at}"
            value = self._value(f"{here}_value", part)
            given = f"{self._spelling.literal(self._tags.begin + name + self._tags.named)} {value} {after}"
            needed = name in schema.get("required", ())
            self.rules.append(f"{here}: {given}" if needed else f"{here}: {given} | {after}")
        return f"{self._prefix}_0"

    def _value(self, rule: str, part: Any) -> str:
        """A value and what ends it, as a rule."""
        branches = enumerate(_branches(self._root, part))
        ways = [self._way(f"{rule}_{at}", branch) for at, branch in branches]
        self.rules.append(f"{rule}: {' | '.join(ways)}")
        return rule

    def _way(self, rule: str, branch: Any) -> str:
        end = self._tags.end
        types = types_within(self._root, branch)
        if not isinstance(branch, dict) or written(types) is Written.EITHER:
            return self._text(rule, _ANY)
        if written(types) is Written.JSON:
            return f"{self._spelling.json({**branch, **self._shared})} {self._spelling.literal(end)}"
        if (values := values_of(branch)) is not None:
            texts = [value for value in values if isinstance(value, str)]
            return " | ".join(self._spelling.literal(f"{text}{end}") for text in texts)
        if isinstance(pattern := branch.get("pattern"), str):
            return self._text(rule, _searched(pattern))
        least, most = branch.get("minLength", 0), branch.get("maxLength")
        if not least and most is None:
            return self._text(rule, _ANY)
        return self._text(rule, f"(?s:.{{{int(least)},{'' if most is None else int(most)}}})")

    def _text(self, rule: str, pattern: str) -> str:
        end = self._tags.end
        if self._spelling.begins_with_token(end):
            self.rules.append(f"{rule}: {regex(pattern)} {self._spelling.literal(end)}")
        else:
            self.rules.append(f"{rule}[suffix={json.dumps(end)}]: {regex(pattern)}")
        return rule


def unsaid(schema: Mapping[str, Any]) -> list[str]:
    """What of a function's schema is not enforced where arguments stand between tags, by name."""
    root = dict(schema)
    top = resolve(root, root)
    if not isinstance(top, dict):
        return []
    found = [f"'{keyword}'" for keyword in top if keyword not in _SHAPES | ANNOTATIONS | {"x-guidance"}]
    for name, part in (top.get("properties") or {}).items():
        branches = _branches(root, part)
        texts = [each for each in branches if written(types_within(root, each)) is not Written.JSON]
        for each in texts:
            if not isinstance(each, dict):
                continue
            lengths = {"minLength", "maxLength"} & set(each) if {"pattern", "enum"} & set(each) else set()
            extra = set(each) - _OF_TEXT - ANNOTATIONS
            found += [f"'{keyword}' of '{name}'" for keyword in sorted(extra | lengths)]
        others = [each for each in branches if each not in texts]
        if texts and any(set(each) - {"type"} - ANNOTATIONS for each in others if isinstance(each, dict)):
            found.append(f"'{name}'")
    return found


def _branches(root: Any, part: Any, depth: int = 0) -> list[Any]:
    """The alternatives of a value's schema, as far as they are nothing but that."""
    part = resolve(root, part)
    if not isinstance(part, dict) or depth > 4:
        return [True]
    for keyword in ("anyOf", "oneOf"):
        if isinstance(parts := part.get(keyword), list) and parts and set(part) <= {keyword} | ANNOTATIONS:
            return [branch for each in parts for branch in _branches(root, each, depth + 1)]
    if isinstance(types := part.get("type"), list) and "string" in types and len(types) > 1:
        if part.get("enum") is not None or part.get("const") is not None:
            values = values_of(part) or []
            return [{"const": value} for value in values]
        return [{**part, "type": each} for each in types]
    return [part]


def _searched(pattern: str) -> str:
    """A pattern that is looked for within a text, as one of all of it."""
    inner = pattern
    before, after = ("" if inner.startswith("^") else _ANY), ("" if _anchored(inner) else _ANY)
    inner = inner.removeprefix("^")
    inner = inner.removesuffix("$") if _anchored(pattern) else inner
    return f"{before}({inner}){after}"


def _anchored(pattern: str) -> bool:
    return pattern.endswith("$") and not pattern.endswith("\\$")
