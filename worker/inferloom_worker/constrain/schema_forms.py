"""What the values of a JSON Schema's keywords must be. Pure."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from inferloom_worker.constrain.schema_places import (
    OF_LISTS,
    OF_NAMES,
    OF_ONE,
    is_schema,
    map_parts,
    steps_of,
    walked,
)

_LITERAL = frozenset(("const", "default", "example"))
"""Keywords of which null is a value."""

_LONGEST = 2**31
"""A size that nothing in a context has; the compiler's regular expressions count a little further."""


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _is_size(value: Any) -> bool:
    if isinstance(value, int):  # which may be too large for a float
        return value >= 0 and not isinstance(value, bool)
    return _is_number(value) and value >= 0 and bool(value.is_integer())


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_dependency(value: Any) -> bool:
    return is_schema(value) or _are_names(value)


def _each(one: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(one, value.values()))


def _listed(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_schema, value))


_Form = tuple[Callable[[Any], bool], str]

_FORMS: Mapping[str, _Form] = {
    **dict.fromkeys(("minimum", "maximum", "multipleOf"), (_is_number, "a number")),
    **dict.fromkeys(
        ("exclusiveMinimum", "exclusiveMaximum"),  # of draft 4: whether minimum and maximum are
        (lambda value: _is_number(value) or isinstance(value, bool), "a number"),
    ),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
        (_is_size, "a whole number of at least 0"),
    ),
    **dict.fromkeys(("pattern", "format", "$ref"), (lambda value: isinstance(value, str), "a string")),
    "required": (_are_names, "an array of strings"),
    "enum": (lambda value: isinstance(value, list), "an array"),
    "type": (lambda value: isinstance(value, str) or _are_names(value), "a string or an array of strings"),
    "uniqueItems": (lambda value: isinstance(value, bool), "true or false"),
    "items": (lambda value: is_schema(value) or _listed(value), "a schema or an array of schemas"),
    **dict.fromkeys(OF_ONE, (is_schema, "a schema")),
    **dict.fromkeys(OF_LISTS, (_listed, "an array of schemas")),
    **dict.fromkeys(OF_NAMES, (_each(is_schema), "an object of schemas")),
    "dependencies": (_each(_is_dependency), "an object of schemas or of arrays of strings"),
    "dependentRequired": (_each(_are_names), "an object of arrays of strings"),
}


def well_formed(schema: Any) -> tuple[Any, list[str]]:
    """The schema without what is no keyword's value, and a sentence's part for each kind of that.

    A keyword that is null says nothing, as if it were not there: programs write it for lists that are empty.
    Sizes and bounds come out in the form in which the rest reads them, in what references lead to as well.
    """
    forming = _Forming()
    formed = forming.change(schema)
    return forming.targets(formed), list(forming.wrong)


class _Forming:
    def __init__(self) -> None:
        self.wrong: dict[str, None] = {}
        self._references: dict[str, None] = {}
        self._done: dict[int, Any] = {}
        """What came out, by its identity."""

    def change(self, part: Any) -> Any:
        """A schema, and all that its keywords have in it."""
        if not isinstance(part, dict):
            return part
        kept: dict[str, Any] = {}
        for keyword, value in part.items():
            form = _FORMS.get(keyword)
            if value is None and keyword not in _LITERAL:
                continue
            if form is None or form[0](value):
                whole = form is not None and form[0] is _is_size
                kept[keyword] = int(value) if whole else value
            elif _mended(keyword, value, kept, form[0]):
                continue
            else:
                self.wrong[f"'{keyword}', which must be {form[1]}"] = None
        _bring_into_reach(kept)
        _number_bounds(kept)
        if "$ref" in kept:
            self._references[kept["$ref"]] = None
        made = map_parts(kept, self.change)
        self._done[id(made)] = made
        return made

    def targets(self, root: Any) -> Any:
        """The same for schemas that stand where only references lead."""
        read = 0
        while read < len(self._references):
            reference = list(self._references)[read:]
            read += len(reference)
            for each in reference:
                steps = steps_of(each)
                if steps and not {"enum", "const"} & set(steps):
                    root = self._replaced(root, steps)
        return root

    def _replaced(self, root: Any, steps: list[str]) -> Any:
        """``root`` with what stands there changed, unless it was."""
        way = walked(root, steps)
        if way is None or not isinstance(way[-1], dict) or id(way[-1]) in self._done:
            return root
        made = self.change(way[-1])
        for around, step in zip(reversed(way[:-1]), reversed(steps), strict=True):
            copy: Any = dict(around) if isinstance(around, dict) else list(around)
            copy[step if isinstance(copy, dict) else int(step)] = made
            if id(around) in self._done:
                self._done[id(copy)] = copy
            made = copy
        return made


def _bring_into_reach(schema: dict[str, Any]) -> None:
    """Sizes that nothing has, as the compiler can read them."""
    for keyword in ("maxLength", "maxItems", "maxProperties"):
        if schema.get(keyword, 0) >= _LONGEST:
            del schema[keyword]
    for keyword in ("minLength", "minItems", "minProperties"):
        if schema.get(keyword, 0) > _LONGEST:
            schema[keyword] = _LONGEST


def _number_bounds(schema: dict[str, Any]) -> None:
    """In draft 4 ``exclusiveMinimum`` is true or false, of ``minimum``; since then it is the bound itself."""
    for bound, excluded in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(schema.get(excluded), bool) and schema.pop(excluded) and bound in schema:
            schema[excluded] = schema.pop(bound)


def _mended(keyword: str, value: Any, kept: dict[str, Any], fits: Callable[[Any], bool]) -> bool:
    """Keep what names schemas without the names whose schema is null: any value has it."""
    if keyword not in OF_NAMES or not isinstance(value, dict):
        return False
    filled = {name: True if part is None else part for name, part in value.items()}
    if not fits(filled):
        return False
    kept[keyword] = filled
    return True
