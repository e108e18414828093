"""Random sets of tools, as applications write them."""

import random
from typing import Any

_WORDS = (
    *("city", "days", "query", "limit", "user_id", "date", "amount", "currency", "lang", "tags", "path"),
    *("subject", "body", "priority", "status", "page", "email", "notify", "unit", "color", "size", "name"),
)
_VERBS = ("get", "find", "list", "send", "create", "delete", "update", "book", "transfer_to", "set")
_THINGS = ("weather", "order", "ticket", "user", "flight", "file", "note", "billing-agent", "event", "report")


def tool_set(seed: int) -> list[dict[str, Any]]:
    """One to five tools with names of their own; the same for the same seed."""
    draw = random.Random(seed)  # not for secrets
    names = {
        f"{draw.choice(_VERBS)}{draw.choice('_-')}{draw.choice(_THINGS)}" for _ in range(draw.randint(1, 5))
    }
    return [_custom(draw, name) if draw.random() < 0.1 else _function(draw, name) for name in sorted(names)]


def _function(draw: random.Random, name: str) -> dict[str, Any]:
    function: dict[str, Any] = {"name": name, "parameters": _object(draw, 0)}
    if draw.random() < 0.8:
        function["description"] = f"Use it to {name.replace('_', ' ').replace('-', ' ')}."
    if draw.random() < 0.3:
        function["strict"] = draw.random() < 0.7
    return {"type": "function", "function": function}


def _custom(draw: random.Random, name: str) -> dict[str, Any]:
    grammars = (
        {"syntax": "regex", "definition": PATTERN},
        {"syntax": "lark", "definition": f"start: /{PATTERN}/"},
    )
    custom = {
        "name": name,
        "description": "Takes a sum.",
        "format": {"type": "grammar", "grammar": draw.choice(grammars)},
    }
    return {"type": "custom", "custom": custom}


PATTERN = "[0-9]{1,4} [+*-] [0-9]{1,4}"
"""What custom tools take."""


def _object(draw: random.Random, depth: int) -> dict[str, Any]:
    names = draw.sample(_WORDS, draw.choice((0, 1, 1, 2, 2, 3, 4) if not depth else (1, 2)))
    schema: dict[str, Any] = {"type": "object", "properties": {name: _value(draw, depth) for name in names}}
    if required := [name for name in names if draw.random() < 0.6]:
        schema["required"] = required
    if draw.random() < 0.3:
        schema["additionalProperties"] = False
    if draw.random() < 0.3:
        schema["title"] = "Arguments"
    return schema


def _value(draw: random.Random, depth: int) -> dict[str, Any]:
    kinds = [_text, _integer, _number, _boolean, _choice, _optional]
    if depth < 2:
        kinds += [_list, lambda draw, depth: _object(draw, depth + 1)]
    made = draw.choice(kinds)(draw, depth)
    if draw.random() < 0.3:
        made["description"] = "What it is about."
    return made


def _text(draw: random.Random, depth: int) -> dict[str, Any]:
    more = (
        {"maxLength": draw.randint(4, 40)},
        {"maxLength": 30, "title": "Text"},
        {"format": "date"},
        {"format": "email"},
    )
    return {"type": "string", **draw.choice((*more, {}, {"minLength": 1}, {"pattern": "^[A-Z]{3}$"}))}


def _integer(draw: random.Random, depth: int) -> dict[str, Any]:
    return {
        "type": "integer",
        **draw.choice(({}, {"minimum": 0, "maximum": 100}, {"maximum": 9}, {"minimum": 1})),
    }


def _number(draw: random.Random, depth: int) -> dict[str, Any]:
    return {"type": "number", **draw.choice(({}, {"minimum": 0}, {"exclusiveMinimum": 0, "maximum": 1}))}


def _boolean(draw: random.Random, depth: int) -> dict[str, Any]:
    return {"type": "boolean", **draw.choice(({}, {"default": False}))}


def _choice(draw: random.Random, depth: int) -> dict[str, Any]:
    return {"type": "string", "enum": draw.sample(["low", "mid", "high", "größer", 'a "b"', "{x}"], 3)}


def _optional(draw: random.Random, depth: int) -> dict[str, Any]:
    return {"anyOf": [draw.choice((_text, _integer))(draw, depth), {"type": "null"}]}


def _list(draw: random.Random, depth: int) -> dict[str, Any]:
    return {"type": "array", "items": _value(draw, depth + 1), "maxItems": draw.randint(1, 4)}
