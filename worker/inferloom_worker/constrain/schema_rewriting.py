"""JSON Schemas in the keywords that grammars have. Pure.

Keywords that the compiler lacks are said by others: ``not``, ``if``, ``dependencies`` and ``oneOf`` by
alternatives, ``propertyNames`` by patterns. Where the others cannot say all of it they say less: a text that
conforms to the result conforms to the schema, and some that would conform are not generated.
"""

import re
from itertools import combinations
from typing import Any

from inferloom_mesh.errors import invalid
from inferloom_worker.constrain.patterns import (
    Work,
    has_pattern,
    is_read,
    no_text,
    one_text,
    whole_texts,
    work,
)
from inferloom_worker.constrain.schema_counting import COUNTED_TWICE, may_count_twice, without_counts
from inferloom_worker.constrain.schema_negation import Negation, alternatives, conjunction
from inferloom_worker.constrain.schema_places import ANNOTATIONS, Schema, is_schema, map_parts, resolve
from inferloom_worker.constrain.schema_types import Overlap, names_of, values_of

FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
)
"""Formats that are enforced. Any other is an annotation."""

MOST_NOTES = 16

MOST_PARTS = 20_000
"""Schemas within a schema."""

_FARTHEST = 2**63 - 1024
"""The largest of a bound: the last float64 among the integers that the compiler counts with."""

_REWRITTEN = ("not", "if", "then", "else", "dependencies", "dependentRequired", "dependentSchemas")


class Rewriting:
    """One schema's.

    Args:
        param: The field that it comes from, for errors.
        root: The schema.
    """

    def __init__(self, param: str, root: Schema) -> None:
        self._param = param
        self._root = root
        self._parts = 0
        self._overlap = Overlap(root)
        self._steps = work()
        self._negation = Negation(root, self._steps)
        self.notes: list[str] = []
        """What is not enforced."""

    def result(self) -> Schema:
        """The schema that is enforced.

        Raises:
            InferloomError: INVALID_ARGUMENT at the field: a keyword cannot be said otherwise, or the schema
                is too large.
        """
        before = self._steps.refused
        changed = self._change(self._root)
        if self._steps.refused > before:
            raise invalid(self._param, f"{self._param} has patterns that take too much work to read.")
        return changed if isinstance(changed, dict | bool) else self._root

    def _change(self, schema: Any) -> Any:
        if not isinstance(schema, dict):
            return schema
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise invalid(self._param, f"{self._param} has more than {MOST_PARTS} schemas in it.")
        more: list[Schema] = []
        schema = dict(schema)
        if isinstance(names := schema.get("propertyNames"), dict) and self._name_properties(schema, names):
            del schema["propertyNames"]
        more += _without_looks(schema, self._steps)
        more += without_counts(schema)
        if may_count_twice(schema):
            self._note(COUNTED_TWICE)
        more += self._without_one_of(schema)
        more += self._without_conditions(schema)
        self._annotate(schema)
        self._reach(schema)
        changed = map_parts(schema, self._change)
        if not more:
            return changed
        own = changed.pop("allOf", [])
        # After the schema's own keywords: the order of properties is that in which they are first named.
        return {**changed, "allOf": [*own, *(self._change(part) for part in more)]}

    def _annotate(self, schema: dict[str, Any]) -> None:
        """Take out what changes nothing about a value."""
        form = schema.get("format")
        if isinstance(form, str) and form not in FORMATS:
            del schema["format"]
            self._note(f"the format '{form[:40]}' is not enforced")
        elif form == "time" and "pattern" in schema:
            # The format has a time zone, and patterns of times often have none.
            del schema["format"]
            self._note("the format 'time' is not enforced beside its pattern")
        if schema.get("uniqueItems") is False:
            del schema["uniqueItems"]

    def _reach(self, schema: dict[str, Any]) -> None:
        """Bring bounds to where the compiler counts to, as far as fewer values conform then."""
        for keyword, far in (
            ("minimum", -1),
            ("exclusiveMinimum", -1),
            ("maximum", 1),
            ("exclusiveMaximum", 1),
        ):
            bound = schema.get(keyword)
            if isinstance(bound, int | float) and bound * far > _FARTHEST:
                schema[keyword] = far * _FARTHEST
                self._narrowed(keyword)

    def _without_one_of(self, schema: dict[str, Any]) -> list[Schema]:
        parts = schema.get("oneOf")
        if not isinstance(parts, list) or not all(map(is_schema, parts)):
            return []
        if (meetings := self._meetings(schema, parts)) is None:
            return []  # the compiler may yet find that no two of them meet
        ways: list[dict[str, Any]] = []
        exact = True
        for index, part in enumerate(parts):
            around = self._beside(schema, part)
            opposites: list[list[dict[str, Any]]] = []
            for place in meetings[index]:
                self._negation.exact = True
                found = self._negation.of(parts[place], around)
                opposites.append([way for way in found if not self._overlap.disjoint(around, way)])
                exact = exact and self._negation.exact
                if not opposites[-1] and not self._negation.exact:
                    return []  # as there
            if all(opposites):
                ways.append(conjunction([part, *map(alternatives, opposites)]))
        del schema["oneOf"]
        if not exact:
            self._narrowed("oneOf")
        return [alternatives(ways)]

    def _meetings(self, schema: dict[str, Any], parts: list[Any]) -> list[list[int]] | None:
        """Of each part of ``oneOf``, the others with which it may share a value; None: they are too many to
        tell."""
        if not self._overlap.affords(len(parts) * (len(parts) - 1) // 2):
            return None
        sides = [self._beside(schema, part) for part in parts]
        found: list[list[int]] = [[] for _ in parts]
        for index, place in combinations(range(len(parts)), 2):
            if not self._overlap.disjoint(sides[index], sides[place]):
                found[index].append(place)
                found[place].append(index)
        return found

    def _narrowed(self, keyword: str) -> None:
        self._note(f"'{keyword}' is enforced more narrowly than it is meant")

    def _note(self, note: str) -> None:
        if note not in self.notes and len(self.notes) < MOST_NOTES:
            self.notes.append(note)

    def _beside(self, schema: dict[str, Any], part: Any) -> Any:
        """An alternative with what the schema around it says, as far as one schema can say both."""
        part = resolve(self._root, part)
        if not isinstance(part, dict):
            return part
        merged = {k: v for k, v in schema.items() if k not in ("oneOf", *_REWRITTEN)} | part
        merged["required"] = [*names_of(schema), *names_of(part)]
        if isinstance(own := schema.get("properties"), dict) and isinstance(
            more := part.get("properties"), dict
        ):
            merged["properties"] = own | more
        return merged

    def _without_conditions(self, schema: dict[str, Any]) -> list[Schema]:
        """Take out what holds on a condition; return what says the same."""
        found: list[Schema] = []
        if "not" in schema and is_schema(schema["not"]):
            found.append(self._opposite("not", schema.pop("not")))
        if "if" in schema and is_schema(schema["if"]):
            condition = schema.pop("if")
            then, other = schema.pop("then", True), schema.pop("else", True)
            if then is not True or other is not True:
                opposite = self._opposite("if", condition)
                yes = conjunction([condition, then]) if then is not True else condition
                no = conjunction([opposite, other]) if other is not True else opposite
                found.append({"anyOf": [yes, no]})
        for keyword in ("then", "else"):
            if "if" not in schema:
                schema.pop(keyword, None)
        for keyword in ("dependencies", "dependentRequired", "dependentSchemas"):
            if isinstance(schema.get(keyword), dict):
                for name, needed in schema.pop(keyword).items():
                    part = {"required": needed} if isinstance(needed, list) else needed
                    there = conjunction([{"required": [name]}, part])
                    found.append({"anyOf": [{"properties": {name: False}}, there]})
        return found

    def _opposite(self, keyword: str, schema: Any) -> Schema:
        if (resolved := resolve(self._root, schema)) is True or resolved == {}:
            return False
        self._negation.exact = True
        if opposite := self._negation.of(schema):
            if not self._negation.exact:
                self._narrowed(keyword)
            return alternatives(opposite)
        raise invalid(
            self._param, f"{self._param} has '{keyword}' of a schema whose opposite no grammar has."
        )

    def _name_properties(self, schema: dict[str, Any], names: dict[str, Any]) -> bool:
        """Say in properties what names they may have; False where that cannot be said."""
        if schema.get("patternProperties"):
            return False
        form = names.get("format")
        if "pattern" in names:
            names = {keyword: value for keyword, value in names.items() if keyword != "format"}
        allowed = _names(self._root, names, self._steps)
        if allowed is None:
            return False
        value = schema.get("additionalProperties", True)
        texts, patterns = allowed
        own = schema.get("properties")
        own = own if isinstance(own, dict) else {}
        if patterns and own and value not in (True, False, {}):
            return False  # which would have to hold for the listed ones, too
        if patterns and own:
            fits = {name: name in texts or self._has_any(patterns, name) for name in own}
            if None in fits.values():
                return False
            schema["properties"] = {name: part if fits[name] else False for name, part in own.items()}
        if isinstance(form, str) and "pattern" in names:
            self._note(f"the format '{form[:40]}' is not enforced")
        if patterns and own and value is False:
            return True
        if not patterns:
            schema["properties"] = {n: part if n in texts else False for n, part in own.items()} | {
                text: value for text in texts if text not in own
            }
            schema["additionalProperties"] = False
        elif patterns != [""]:
            schema["patternProperties"] = {_any_of(patterns, texts): value}
            schema["additionalProperties"] = False
        return True

    def _has_any(self, patterns: list[str], name: str) -> bool | None:
        """Whether a name has any of the patterns. None: it is not known."""
        found = {has_pattern(pattern, name, self._steps) for pattern in patterns}
        return True if True in found else None if None in found else False


def _without_looks(schema: dict[str, Any], steps: Work) -> list[Schema]:
    """Write patterns as the compiler reads them; return what else the one of this schema's asks for."""
    named = schema.get("patternProperties")
    if isinstance(named, dict):
        _write_names(schema, named, steps)
    pattern = schema.get("pattern")
    found = whole_texts(pattern, steps) if isinstance(pattern, str) else None
    if found is None or not found[1]:
        return []
    schema["pattern"], *more = (f"^(?:{each})$" for each in found[0])
    return [{"pattern": each} for each in more]


def _write_names(schema: dict[str, Any], named: dict[str, Any], steps: Work) -> None:
    """Write patterns of names as the compiler reads them. Names that have one for some dialects only cannot
    be: those without any are a pattern, too."""
    said = {pattern: _said(pattern, steps) for pattern in named}
    if all(said[pattern] == pattern for pattern in named) or len(set(said.values())) < len(named):
        return
    made = {said[pattern]: part for pattern, part in named.items()}
    more = schema.get("additionalProperties", True)
    if more is not False:
        if (more is not True and more != {} and schema.get("properties")) or not all(map(is_read, named)):
            return
        others = no_text("|".join(f"(?:{pattern})" for pattern in named), steps)
        if others is None or f"^(?:{others})$" in made:
            return
        made[f"^(?:{others})$"] = more
        schema["additionalProperties"] = False
    schema["patternProperties"] = made


def _said(pattern: str, steps: Work) -> str:
    found = whole_texts(pattern, steps)
    if found is None or not found[1] or (text := one_text(pattern, steps)) is None:
        return pattern
    return f"^(?:{text})$"


def _names(root: Schema, names: Any, steps: Work) -> tuple[list[str], list[str]] | None:
    """The texts and the patterns that names may be; the pattern "" is any name. None: it is not known."""
    names = resolve(root, names)
    if not isinstance(names, dict):
        return None
    plain = {k: v for k, v in names.items() if k not in ANNOTATIONS}
    plain = {k: v for k, v in plain.items() if not (k == "type" and v == "string")}
    if not plain:
        return [], [""]
    if (values := values_of(plain)) is not None and len(plain) == 1:
        return [value for value in values if isinstance(value, str)], []
    if set(plain) == {"pattern"}:
        return [], [str(plain["pattern"])]
    length = f"(?s:.){{{plain.get('minLength', 0)},{plain.get('maxLength', '')}}}"
    if set(plain) <= {"minLength", "maxLength"}:
        return [], [f"^{length}$"]
    if set(plain) <= {"minLength", "maxLength", "pattern"}:
        text = one_text(str(plain["pattern"]), steps)
        both = None if text is None else one_text(f"^(?={length}$)(?:{text})$", steps)
        return None if both is None else ([], [f"^(?:{both})$"])
    for keyword in ("anyOf", "oneOf"):
        if set(plain) == {keyword} and isinstance(plain[keyword], list):
            found = [_names(root, part, steps) for part in plain[keyword]]
            if not all(found) or not all(is_read(p) for each in found if each for p in each[1]):
                return None
            return [t for each in found if each for t in each[0]], [
                p for each in found if each for p in each[1]
            ]
    return None


def _any_of(patterns: list[str], texts: list[str]) -> str:
    ways = [*patterns, *(f"^{re.escape(text)}$" for text in texts)]
    return ways[0] if len(ways) == 1 else "|".join(f"(?:{way})" for way in ways)
