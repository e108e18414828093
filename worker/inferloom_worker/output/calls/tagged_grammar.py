"""Arguments between tags as rules of a grammar. Pure.

Values that are not strings are JSON. Strings have no quotes, so that of their keywords ``enum``, ``const``,
``pattern`` and the lengths are said otherwise; what cannot be is told by :func:`.tagged_schema.unsaid`. Which
arguments there must be together is in the rules' states (:mod:`.tagged_presence`).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inferloom_worker.constrain.patterns import no_text, whole_texts, work
from inferloom_worker.constrain.schema_places import ANNOTATIONS
from inferloom_worker.constrain.schema_types import values_of
from inferloom_worker.constrain.source import regex
from inferloom_worker.output.calls.form import Tags
from inferloom_worker.output.calls.raw_values import OPENERS, Written, types_within, written
from inferloom_worker.output.calls.schemas import standing_alone
from inferloom_worker.output.calls.tagged_presence import Last, Presence
from inferloom_worker.output.calls.tagged_schema import Branches, TaggedArguments, looks_at, texts_of

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
        self._steps = work()
        self.rules: list[str] = []

    def write(self) -> str:
        """The name of the rule for all arguments; its own are then in ``rules``."""
        asked = TaggedArguments.of(self._root)
        values = {
            name: value
            for at, (name, part) in enumerate(asked.listed.items())
            if (value := self._value(f"{self._prefix}_{at}_value", part))
        }
        more = self._others(asked)
        presence = asked.presence(frozenset(values), more=bool(more))
        if presence is None:  # which was told; so any of them may be
            presence = Presence(list(asked.listed), frozenset(), frozenset(values), {}, more=bool(more))
        for index, given in presence.apart(len(asked.listed)).items():
            rest = _counted(more, presence.last(given)) or '""'
            self.rules.append(f"{self._state(len(asked.listed), index)}: {rest}")
        for at, name in reversed(list(enumerate(asked.listed))):
            following = presence.levels[at + 1]
            for index, given in presence.apart(at).items():
                with_, without = presence.ways(at, given)
                ways = [] if without is None else [self._state(at + 1, following[without])]
                if with_ is not None:
                    begin = self._spelling.literal(self._tags.begin + name + self._tags.named)
                    ways.insert(0, f"{begin} {values[name]} {self._state(at + 1, following[with_])}")
                self.rules.append(f"{self._state(at, index)}: {' | '.join(ways)}")
        return self._state(0, 0)

    def _state(self, at: int, index: int) -> str:
        """The rule of what follows a place."""
        return f"{self._prefix}_{at}" if index == 0 else f"{self._prefix}_{at}_s{index}"

    def _others(self, asked: TaggedArguments) -> str:
        """One argument that is not listed, as a rule. Empty: there is none."""
        rule = f"{self._prefix}_more"
        begin, named = self._spelling.literal(self._tags.begin), self._spelling.literal(self._tags.named)
        own = f"{self._prefix.upper()}_NAME"
        known = f" & ~{regex('|'.join(map(re.escape, asked.listed)))}" if asked.listed else ""
        patterns = [f"{own}_P{at}" for at in range(len(asked.patterns))]
        lacks = [self._lacks(pattern, patterns[at]) for at, pattern in enumerate(asked.patterns)]
        ways = []
        for at, (pattern, part) in enumerate((*asked.patterns.items(), ("", asked.more))):
            is_pattern = at < len(patterns)
            if is_pattern:
                self.rules.append(f"{patterns[at]}: {' & '.join(map(regex, self._whole(pattern)))}")
            if value := self._value(f"{rule}_{at}_value", part):
                which = f" & {patterns[at]}" if is_pattern else ""
                # A name of two patterns would need a value of both.
                apart = "".join(f" & {each}" for place, each in enumerate(lacks) if place != at)
                self.rules.append(f'{own}_{at}: /[^<>"\\n]{{1,64}}/{known}{which}{apart}')
                ways.append(f"{begin} {own}_{at} {named} {value}")
        if ways:
            self.rules.append(f"{rule}: {' | '.join(ways)}")
        return rule if ways else ""

    def _value(self, rule: str, part: Any) -> str:
        """A value and what ends it, as a rule. Empty: there is none."""
        branches = Branches(self._root, part, self._looks)
        openers = types_within(self._root, part) & OPENERS.keys()
        ways = [self._way(f"{rule}_{at}", branch, openers) for at, branch in enumerate(branches.found)]
        if not ways:
            return ""
        self.rules.append(f"{rule}: {' | '.join(ways)}")
        return rule

    def _way(self, rule: str, branch: dict[str, Any], openers: frozenset[str]) -> str:
        """One alternative, and what ends it. Where there may be objects, no text begins as they do, and so
        with arrays: readers would take what begins so for one."""
        end = self._tags.end
        types = types_within(self._root, branch)
        if written(types) is Written.EITHER:
            if set(branch) - {"type"} - ANNOTATIONS:
                return self._text(rule, [_ANY], frozenset())  # of which it was told that any will do
            text = self._text(rule, [_ANY], openers)
            if not (kinds := [kind for kind in OPENERS if kind in types]):
                return text
            alone = standing_alone(self._root, {**branch, "type": kinds})
            return f"{text} | {self._spelling.json(alone)} {self._spelling.literal(end)}"
        if written(types) is Written.JSON:
            alone = standing_alone(self._root, branch)
            return f"{self._spelling.json(alone)} {self._spelling.literal(end)}"
        if (values := values_of(branch)) is not None:
            texts = [value for value in values if isinstance(value, str)]
            return " | ".join(self._spelling.literal(f"{text}{end}") for text in texts)
        asked: list[str] = []
        for each in texts_of(branch) or [branch]:
            if isinstance(pattern := each.get("pattern"), str):
                asked += self._whole(pattern)
            least, most = each.get("minLength", 0), each.get("maxLength")
            if least or most is not None:
                asked.append(f"(?s:.{{{least},{'' if most is None else most}}})")
        return self._text(rule, asked or [_ANY], openers)

    def _whole(self, pattern: str) -> Sequence[str]:
        """Expressions of which all match a whole text that has the pattern in it."""
        found = whole_texts(pattern, self._steps)
        return _searched(pattern) if found is None else found[0]

    def _lacks(self, pattern: str, has: str) -> str:
        """A condition on names that lack a pattern; ``has`` is the rule of those that have it."""
        found = no_text(pattern, self._steps)
        return f"~{has}" if found is None else regex(found)

    def _text(self, rule: str, asked: Sequence[str], openers: frozenset[str]) -> str:
        """A text that all of these match, and what ends it."""
        end, text = self._tags.end, rule.upper()
        # Readers end a value at its tag, also where that has not the line ends of the form.
        barred = [f"{_ANY}{re.escape(end.strip())}{_ANY}"]
        if openers:
            barred.append(
                f"[\\s\\x1c-\\x1f]*[{''.join(re.escape(OPENERS[kind]) for kind in sorted(openers))}]{_ANY}"
            )
        conditions = [*map(regex, asked), *(f"~{regex(each)}" for each in barred)]
        self.rules.append(f"{text}: {' & '.join(conditions)}")
        if self._spelling.begins_with_token(end):
            self.rules.append(f"{rule}: {text} {self._spelling.literal(end)}")
        else:
            self.rules.append(f"{rule}[suffix={json.dumps(end)}]: {text}")
        return rule


def _counted(rule: str, last: Last) -> str:
    """As many of a rule as may follow. Empty: none."""
    if not rule or last.most == 0:
        return ""
    if last.most is None:
        return f"{rule}{'*' if last.none else '+'}"
    return f"({rule}){{{int(not last.none)},{last.most}}}"


def _searched(pattern: str) -> list[str]:
    """A pattern that is looked for within a text, as conditions on all of it. In one it is by itself, so that
    the compiler refuses it where it closes a bracket that it did not open."""
    inner = pattern
    before, after = ("" if inner.startswith("^") else _ANY), ("" if _anchored(inner) else _ANY)
    inner = inner.removeprefix("^")
    inner = inner.removesuffix("$") if _anchored(pattern) else inner
    return [f"{before}({inner}){after}", f"{inner}|{_ANY}"]


def _anchored(pattern: str) -> bool:
    return pattern.endswith("$") and not pattern.endswith("\\$")
