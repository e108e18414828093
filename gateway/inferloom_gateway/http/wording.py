"""What is wrong with a field, in the API's own words instead of pydantic's."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

_Context = Mapping[str, Any]

_KINDS = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}

_RULES: dict[str, Callable[[_Context], str]] = {
    "greater_than": lambda ctx: f"must be above {_number(ctx['gt'])}",
    "greater_than_equal": lambda ctx: f"must be at least {_number(ctx['ge'])}",
    "less_than": lambda ctx: f"must be below {_number(ctx['lt'])}",
    "less_than_equal": lambda ctx: f"must be at most {_number(ctx['le'])}",
    "too_short": lambda ctx: f"must have at least {_count(ctx['min_length'], 'entry', 'entries')}",
    "too_long": lambda ctx: f"must have at most {_count(ctx['max_length'], 'entry', 'entries')}",
    "string_too_short": lambda ctx: f"must have at least {_count(ctx['min_length'], 'character')}",
    "string_too_long": lambda ctx: f"must have at most {_count(ctx['max_length'], 'character')}",
    "string_pattern_mismatch": lambda ctx: f"must match {ctx['pattern']}",
    "literal_error": lambda ctx: f"must be {'one of ' if ' or ' in ctx['expected'] else ''}{ctx['expected']}",
}


def complaint(error: ErrorDetails) -> str:
    """What a field must be, to stand behind its name: ``must be at least 1``."""
    kind = error["type"]
    if kind in ("int_type", "int_from_float") and _is_whole(error["input"]):
        return _size(error["input"])  # such numbers are floats in what was read
    if kind == "int_parsing_size":
        return _size(error["input"])
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}" + (", not null" if error["input"] is None else "")
    if kind in _RULES:
        return _RULES[kind](error.get("ctx", {}))
    return f"{error['msg'][:1].lower()}{error['msg'][1:]}"  # a schema's own sentence


def _size(value: Any) -> str:
    return "is too small" if str(value).lstrip().startswith("-") else "is too large"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer() and abs(value) >= 2**63
