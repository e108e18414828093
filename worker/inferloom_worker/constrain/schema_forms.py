"""What the values of a JSON Schema's keywords must be. Pure."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from inferloom_worker.constrain.schema_places import OF_LISTS, OF_NAMES, OF_ONE, is_schema, map_parts

_LITERAL = frozenset(("const", "default", "example"))
"""Keywords of which null is a value."""


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _is_size(value: Any) -> bool:
    return _is_number(value) and value >= 0 and float(value).is_integer()


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
    """
    wrong: dict[str, None] = {}

    def change(part: Any) -> Any:
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
                wrong[f"'{keyword}', which must be {form[1]}"] = None
        return map_parts(kept, change)

    return change(schema), list(wrong)


def _mended(keyword: str, value: Any, kept: dict[str, Any], fits: Callable[[Any], bool]) -> bool:
    """Keep what names schemas without the names whose schema is null: any value has it."""
    if keyword not in OF_NAMES or not isinstance(value, dict):
        return False
    filled = {name: True if part is None else part for name, part in value.items()}
    if not fits(filled):
        return False
    kept[keyword] = filled
    return True
