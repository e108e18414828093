"""The hand-written request schemas agree with the parameter table, field by field."""

import math
from collections.abc import Iterator
from typing import Any

import pytest

from inferloom.parameter_table import Meaning, Range
from inferloom.parameters import ENDPOINTS
from inferloom_gateway.http.app import BODIES
from inferloom_gateway.http.translate import completions

ROWS = {endpoint.name: endpoint.parameters for endpoint in ENDPOINTS}
SCHEMAS = [pytest.param(schema, id=schema.__name__) for schema in BODIES]
DECLARED = (Meaning.FIELD, Meaning.OWN)

Described = dict[str, Any]


def described(schema: Any) -> dict[str, Described]:
    """What pydantic says of each field, by its place in the body; ``optional`` where null will do."""
    document = schema.model_json_schema()
    return dict(_fields(document, document.get("$defs", {}), ""))


def _fields(part: Described, parts: dict[str, Described], prefix: str) -> Iterator[tuple[str, Described]]:
    for name, given in part.get("properties", {}).items():
        ways = [_follow(way, parts) for way in given.get("anyOf", [given])]
        kept = [way for way in ways if way.get("type") != "null"]
        required = name in part.get("required", ()) and len(kept) == len(ways)
        yield prefix + name, {"ways": kept, "required": required}
        for way in kept:
            inside, many = [way], ""
            if way.get("type") == "array":
                items = way.get("items", {})
                inside, many = [_follow(item, parts) for item in items.get("anyOf", [items])], "[]"
            for inner in inside:
                yield from _fields(inner, parts, f"{prefix}{name}{many}.")


def _follow(way: Described, parts: dict[str, Described]) -> Described:
    if "$ref" in way:
        return parts[way["$ref"].rpartition("/")[2]]
    if "allOf" in way and len(way["allOf"]) == 1:
        return _follow(way["allOf"][0], parts)
    return way


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_field_has_a_row_and_every_row_a_field(schema: Any) -> None:
    """What is missing is named."""
    fields = described(schema)
    rows = {name for name, row in ROWS[schema.endpoint].items() if row.meaning in DECLARED}

    assert fields.keys() - rows == set(), "no row in rest.textproto"
    assert rows - fields.keys() == set(), "no line in the schema"


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_field_is_as_its_row_says(schema: Any) -> None:
    """Type, range, number of entries, and whether it must be there."""
    for name, field in described(schema).items():
        row = ROWS[schema.endpoint][name]
        at = f"{schema.__name__}.{name}"
        if name in ("prompt", "input", "messages", "model"):  # or, or in another place
            continue
        assert field["required"] == row.required, at
        assert types(field["ways"]) == set(row.shape.split("|")), at
        assert bounds(field["ways"]) == row.range, at
        assert entries(field["ways"], "maxItems", "maxProperties") == row.max_items, at


def types(ways: list[Described]) -> set[str]:
    """The JSON types of all forms; an object may be a form of an array's or a string's own."""
    found = set()
    for way in ways:
        if "const" in way:
            found.add({str: "string", int: "integer"}[type(way["const"])])
        else:
            found.add(way.get("type", "object"))
    return found


def bounds(ways: list[Described]) -> Range | None:
    """The range of the number, of the text's length, or of each entry's."""
    for way in ways:
        kind = way.get("type")
        inner = {"array": way.get("items", {}), "object": way.get("additionalProperties", {})}.get(
            str(kind), way
        )
        if not isinstance(inner, dict):
            continue
        if isinstance(inner.get("const"), int):
            return Range(inner["const"], inner["const"])
        for least, above, most, floor in (
            ("minimum", "exclusiveMinimum", "maximum", -math.inf),
            ("minLength", "", "maxLength", 0),
        ):
            if {least, above, most} & inner.keys():
                start: float = inner.get(least, inner.get(above, floor))  # type: ignore[assignment] # JSON
                return Range(start, inner.get(most, math.inf), above in inner)
    return None


def entries(ways: list[Described], *names: str) -> int | None:
    """Most entries of a list or map."""
    found: int | None = next((way[name] for way in ways for name in names if name in way), None)
    return found


def test_the_ways_that_the_schema_cannot_show_agree_too() -> None:
    """Numbers of inputs, and a default of the endpoint's own."""
    assert entries_of("completions", "prompt") == ROWS["completions"]["prompt"].max_items
    assert entries_of("embeddings", "input") == ROWS["embeddings"]["input"].max_items
    assert ROWS["completions"]["max_tokens"].default == completions.DEFAULT_MAX_TOKENS


def entries_of(endpoint: str, name: str) -> int | None:
    """Most inputs of a request."""
    schema = next(each for each in BODIES if each.endpoint == endpoint)
    ways: list[dict[str, int]] = described(schema)[name]["ways"]
    return max(way["maxItems"] for way in ways if "maxItems" in way)
