"""Which grammars are compiled without a trial: what people usually ask for, and nothing that may be large."""

import json
from typing import Any

import pytest

from inferloom_worker.constrain.grammar import Kind
from inferloom_worker.constrain.small import is_small
from inferloom_worker.constrain.source import source
from tests.worker.grammars import schema

USUAL: dict[str, Any] = {
    "an object": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 100},
            "age": {"type": "integer", "minimum": 0, "maximum": 130},
            "email": {"type": "string", "format": "email"},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1, "maxItems": 10},
            "maxItems": {"type": "number"},
        },
        "required": ["name", "age"],
        "additionalProperties": False,
    },
    "of pydantic": {
        "$defs": {
            "Pet": {
                "type": "object",
                "title": "Pet",
                "properties": {
                    "kind": {"const": "dog", "title": "Kind"},
                    "friends": {"type": "array", "items": {"$ref": "#/$defs/Pet"}},
                },
            }
        },
        "properties": {
            "pet": {"anyOf": [{"$ref": "#/$defs/Pet"}, {"type": "null"}], "default": None},
            "other": {"$ref": "#/$defs/Pet", "description": "Another."},
            "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "null"}], "items": False},
        },
        "type": "object",
    },
    "any object": {"type": "object"},
    "anything": True,
}


@pytest.mark.parametrize("name", USUAL)
def test_what_is_usual_is_small(name: str) -> None:
    """As the compiler is given it."""
    assert is_small(Kind.JSON_SCHEMA, source(schema(USUAL[name]), closes=True).text)


def nested(depth: int) -> dict[str, Any]:
    """Alternatives beside properties, in one another: each is multiplied by all that are in it."""
    made: dict[str, Any] = {"type": "object"}
    for level in range(depth):
        ways = [{"properties": {f"{level}{way}": {"type": "integer"}}} for way in "abc"]
        made = {"type": "object", "properties": {f"p{level}": made}, "anyOf": ways}
    return made


LARGE: dict[str, Any] = {
    "counts": {"type": "array", "items": {"type": "integer"}, "maxItems": 10**8},
    "counts in parts": {
        "properties": {f"{at}": {"type": "array", "minItems": 400, "maxItems": 400} for at in range(3)}
    },
    "counts in lists of schemas": {
        "type": "array",
        "prefixItems": [{"type": "array", "items": {"type": "array", "minItems": 10**6}}],
    },
    "nested alternatives": nested(8),
    "references with neighbours": {
        "$defs": {"a": {"type": "object", "properties": {"x": {"$ref": "#/$defs/a", "maxProperties": 3}}}},
        "$ref": "#/$defs/a",
    },
    "references to what is no schema": {
        "properties": {"x": {"$ref": "#/properties/y/default"}, "y": {"default": {"pattern": "a{1,999}"}}}
    },
    "patterns": {"type": "string", "pattern": "(a{1,99}){1,99}"},
    "multiples": {"type": "integer", "multipleOf": 7},
    "many digits": {"type": "integer", "minimum": 10**300},
    "long": {"properties": {f"property{at}": {"type": "string"} for at in range(200)}},
}


@pytest.mark.parametrize("name", LARGE)
def test_what_may_be_large_is_not(name: str) -> None:
    """However short it is: it is tried in a process of its own."""
    body = json.dumps({"grammars": [{"json_schema": LARGE[name]}]})
    assert not is_small(Kind.JSON_SCHEMA, body)


def test_grammars_are_not_and_choices_are() -> None:
    """As far as they are short."""
    assert is_small(Kind.CHOICE, 'start: "a" | "b"')
    assert not is_small(Kind.CHOICE, "x" * 5000)
    assert not any(is_small(kind, "start: /a/") for kind in (Kind.REGEX, Kind.LARK, Kind.LLGUIDANCE))
