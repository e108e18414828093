"""Arguments between tags as rules of a grammar. Pure.

Values that are not strings are JSON. Strings have no quotes, so that of their keywords ``enum``, ``const``,
``pattern`` and the lengths are said otherwise; what cannot be is told by :func:`.tagged_schema.unsaid`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from inferloom_worker.constrain.schema_types import values_of
from inferloom_worker.constrain.source import regex
from inferloom_worker.output.calls.form import Tags
from inferloom_worker.output.calls.raw_values import Written, types_within, written
from inferloom_worker.output.calls.schemas import standing_alone
from inferloom_worker.output.calls.tagged_schema import Branches, TaggedArguments, looks_at

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
        self._looks = looks_at()
        self.rules: list[str] = []

    def write(self) -> str:
        """The name of the rule for all arguments; its own are then in ``rules``."""
        asked = TaggedArguments.of(self._root)
        rest = f"{self._prefix}_{len(asked.listed)}"
        if more := self._value(f"{rest}_value", asked.more):
            begin, named = self._spelling.literal(self._tags.begin), self._spelling.literal(self._tags.named)
            self.rules.append(f"{rest}_more: {begin} {self._other_name(asked.listed)} {named} {more}")
            self.rules.append(f"{rest}: {rest}_more*")
        else:
            self.rules.append(f'{rest}: ""')
        for at, (name, part) in reversed(list(enumerate(asked.listed.items()))):
            after, here = f"{self._prefix}_{at + 1}", f"{self._prefix}_{at}"
            if value := self._value(f"{here}_value", part):
                given = (
                    f"{self._spelling.literal(self._tags.begin + name + self._tags.named)} {value} {after}"
                )
                self.rules.append(
                    f"{here}: {given}" if name in asked.needed else f"{here}: {given} | {after}"
                )
            else:
                self.rules.append(f"{here}: {after}")
        return f"{self._prefix}_0"

    def _other_name(self, listed: Mapping[str, Any]) -> str:
        """A name that is not among the listed ones, as a terminal."""
        name = f"{self._prefix.upper()}_NAME"
        known = f" & ~{regex('|'.join(map(re.escape, listed)))}" if listed else ""
        self.rules.append(f'{name}: /[^<>"\\n]{{1,64}}/{known}')
        return name

    def _value(self, rule: str, part: Any) -> str:
        """A value and what ends it, as a rule. Empty: there is none."""
        branches = Branches(self._root, part, self._looks)
        ways = [self._way(f"{rule}_{at}", branch) for at, branch in enumerate(branches.found)]
        if not ways:
            return ""
        self.rules.append(f"{rule}: {' | '.join(ways)}")
        return rule

    def _way(self, rule: str, branch: dict[str, Any]) -> str:
        end = self._tags.end
        types = types_within(self._root, branch)
        if written(types) is Written.EITHER:
            return self._text(rule, _ANY)
        if written(types) is Written.JSON:
            alone = standing_alone(self._root, branch)
            return f"{self._spelling.json(alone)} {self._spelling.literal(end)}"
        if (values := values_of(branch)) is not None:
            texts = [value for value in values if isinstance(value, str)]
            return " | ".join(self._spelling.literal(f"{text}{end}") for text in texts)
        if isinstance(pattern := branch.get("pattern"), str):
            return self._text(rule, _searched(pattern))
        least, most = branch.get("minLength", 0), branch.get("maxLength")
        if not least and most is None:
            return self._text(rule, _ANY)
        return self._text(rule, f"(?s:.{{{least},{'' if most is None else most}}})")

    def _text(self, rule: str, pattern: str) -> str:
        end, text = self._tags.end, rule.upper()
        # Readers end a value at its tag, also where that has not the line ends of the form.
        self.rules.append(f"{text}: {regex(pattern)} & ~{regex(f'{_ANY}{re.escape(end.strip())}{_ANY}')}")
        if self._spelling.begins_with_token(end):
            self.rules.append(f"{rule}: {text} {self._spelling.literal(end)}")
        else:
            self.rules.append(f"{rule}[suffix={json.dumps(end)}]: {text}")
        return rule


def _searched(pattern: str) -> str:
    """A pattern that is looked for within a text, as one of all of it."""
    inner = pattern
    before, after = ("" if inner.startswith("^") else _ANY), ("" if _anchored(inner) else _ANY)
    inner = inner.removeprefix("^")
    inner = inner.removesuffix("$") if _anchored(pattern) else inner
    return f"{before}({inner}){after}"


def _anchored(pattern: str) -> bool:
    return pattern.endswith("$") and not pattern.endswith("\\$")
