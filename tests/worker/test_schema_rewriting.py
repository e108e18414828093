"""Keywords that grammars do not have are said by others: what is generated conforms, to the last of them."""

import json
import time
from itertools import permutations, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from inferloom_mesh.errors import InferloomError
from inferloom_worker.constrain.grammar import Grammar, Kind
from inferloom_worker.constrain.schema_closing import closed
from inferloom_worker.constrain.source import source
from tests.worker.grammars import accepts, compact, conforms, derives, matcher, refusal, schema

NAMES = ["a", "b", "c"]
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "xy", "z"])
SOME: list[Any] = [None, True, -1, 0, 1, 1.5, "", "x", "xy", [], [1], {}]
VALUES: list[Any] = SOME + [
    {name: value for name, value in zip(NAMES, values, strict=True) if value is not ...}
    for values in product([..., None, 1, 3, "x", "xyz"], [..., True, 0, ""], [..., 2, "xy"])
]
LISTED = st.lists(SCALARS, min_size=1, max_size=3, unique_by=lambda value: json.dumps([value])).map(
    lambda values: {"enum": values}
)
PLAIN = (
    st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"]).map(
        lambda name: {"type": name}
    )
    | st.lists(SCALARS, min_size=1, max_size=3, unique_by=lambda v: json.dumps([v])).map(
        lambda v: {"enum": v}
    )
    | st.integers(0, 2).map(lambda n: {"type": "string", "minLength": n})
    | st.integers(0, 2).map(lambda n: {"type": "string", "maxLength": n})
    | st.integers(-2, 2).map(lambda n: {"type": "integer", "minimum": n})
)
OBJECTS = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.fixed_dictionaries(dict.fromkeys(NAMES, PLAIN))},
    optional={"required": st.lists(st.sampled_from(NAMES), max_size=2, unique=True)},
)
NEEDS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True).map(lambda n: {"required": n})
SIMPLE = PLAIN | OBJECTS | NEEDS
COMBINED = st.one_of(
    st.builds(lambda one, other: {**one, "not": other}, OBJECTS, SIMPLE),
    st.builds(lambda one, ways: {**one, "oneOf": ways}, OBJECTS, st.lists(SIMPLE, min_size=2, max_size=3)),
    st.lists(SIMPLE, min_size=2, max_size=3).map(lambda ways: {"oneOf": ways}),
    st.builds(
        lambda one, if_, then, other: {**one, "if": if_, "then": then, "else": other},
        OBJECTS,
        OBJECTS | NEEDS,
        OBJECTS | NEEDS,
        OBJECTS | NEEDS,
    ),
    st.builds(
        lambda one, needs: {**one, "dependencies": {"a": needs["required"], "b": needs}}, OBJECTS, NEEDS
    ),
)


def orders(value: Any) -> list[Any]:
    """A value with its properties in each order: a grammar has one of them."""
    return [dict(items) for items in permutations(value.items())] if isinstance(value, dict) else [value]


@settings(max_examples=60)
@given(asked=COMBINED)
def test_a_value_that_is_accepted_conforms_and_one_that_conforms_is_accepted(asked: Any) -> None:
    """As the jsonschema package judges; where something is left out it is noted."""
    try:
        start = matcher(schema(asked))
    except InferloomError:
        return
    exact = not source(schema(asked)).notes
    judge = Draft7Validator(asked)
    for value in VALUES:
        valid, accepted = judge.is_valid(value), any(derives(start, compact(each)) for each in orders(value))
        assert valid or not accepted
        assert accepted or not valid or not exact


CONDITIONAL = {
    "type": "object",
    "properties": {"kind": {"type": "string"}, "size": {"type": "integer"}},
    "required": ["kind"],
    "additionalProperties": False,
    "if": {"properties": {"kind": {"const": "box"}}},
    "then": {"required": ["size"]},
}
EXACTLY_ONE = {
    "type": "object",
    "properties": {"cmd": {"type": "string"}, "args": {"type": "string"}},
    "additionalProperties": False,
    "oneOf": [{"required": ["cmd"]}, {"required": ["args"]}],
}
COUNTED: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {}, "b": {}, "c": {}},
    "additionalProperties": False,
}
CASES: list[tuple[Any, Any, bool]] = [
    (CONDITIONAL, {"kind": "box"}, False),
    (CONDITIONAL, {"kind": "box", "size": 1}, True),
    (CONDITIONAL, {"kind": "boxes"}, True),
    (CONDITIONAL, {"kind": "bo"}, True),
    (CONDITIONAL, {"kind": ""}, True),
    (EXACTLY_ONE, {"cmd": "x"}, True),
    (EXACTLY_ONE, {}, False),
    (EXACTLY_ONE, {"cmd": "x", "args": "y"}, False),
    ({"not": {"type": "string"}}, "x", False),
    ({"not": {"type": "string"}}, [1], True),
    ({"type": "integer", "not": {"enum": [1, 3]}}, 2, True),
    ({"type": "integer", "not": {"enum": [1, 3]}}, 3, False),
    ({"type": "string", "not": {"enum": ["é", "ab"]}}, "é", False),
    ({"type": "string", "not": {"enum": ["é", "ab"]}}, "éa", True),
    ({"type": "string", "not": {"const": "a-b]"}}, "a-b]", False),
    ({"type": "object", "propertyNames": {"pattern": "^a"}}, {"ab": 1}, True),
    ({"type": "object", "propertyNames": {"pattern": "^a"}}, {"b": 1}, False),
    (COUNTED | {"minProperties": 2}, {"a": 1, "c": 1}, True),
    (COUNTED | {"minProperties": 2}, {"b": 1}, False),
    ({"type": "object", "propertyNames": {"format": "date", "pattern": "^a"}}, {"b": 1}, False),
    (COUNTED | {"propertyNames": {"pattern": "^[ab]"}}, {"b": 1}, True),
    (COUNTED | {"propertyNames": {"pattern": "^[ab]"}}, {"c": 1}, False),
    ({"properties": {"a": {"type": "null"}}, "propertyNames": {"pattern": "^a"}}, {"a": None, "ab": 1}, True),
    ({"properties": {"a": {"type": "null"}}, "propertyNames": {"pattern": "^a"}}, {"a": 1}, False),
    ({"properties": {"a": {"type": "null"}}, "propertyNames": {"pattern": "^a"}}, {"b": 1}, False),
    (COUNTED | {"maxProperties": 2}, {"b": 1, "c": 1}, True),
    (COUNTED | {"maxProperties": 2}, {"a": 1, "b": 1, "c": 1}, False),
    (COUNTED | {"minProperties": 1, "maxProperties": 3}, {"a": 1, "b": 1, "c": 1}, True),
    ({"type": "object", "propertyNames": {"pattern": "^(?!b)"}}, {"ab": 1}, True),
    ({"type": "object", "propertyNames": {"pattern": "^(?!b)"}}, {"b": 1}, False),
    ({"type": "object", "propertyNames": {"pattern": "a", "maxLength": 3}}, {"bba": 1}, True),
    ({"type": "object", "propertyNames": {"pattern": "a", "maxLength": 3}}, {"bbba": 1}, False),
    ({"type": "object", "patternProperties": {"^(?!x-)": {"type": "null"}}}, {"x-a": 1}, True),
    ({"type": "object", "patternProperties": {"^(?!x-)": {"type": "null"}}}, {"a": 1}, False),
    ({"type": "string", "not": {"pattern": "^a"}}, "ba", True),
    ({"type": "string", "not": {"pattern": "^a"}}, "ab", False),
    ({"type": "string", "oneOf": [{"pattern": "^a"}, {"pattern": "b$"}]}, "a", True),
    ({"type": "string", "oneOf": [{"pattern": "^a"}, {"pattern": "b$"}]}, "ab", False),
    ({"type": "object", "propertyNames": {"enum": ["a", "b"]}}, {"b": 1}, True),
    ({"type": "object", "propertyNames": {"enum": ["a", "b"]}}, {"c": 1}, False),
    ({"type": "object", "propertyNames": {"maxLength": 2}}, {"abc": 1}, False),
    ({"type": "string", "format": "phone"}, "anything", True),
    ({"type": "string", "format": "date"}, "anything", False),
    ({"properties": {"format": {"type": "integer"}}}, {"format": 1}, True),
    (True, {"x": [None]}, True),
]


@pytest.mark.parametrize(("asked", "value", "accepted"), CASES)
def test_a_value_is_accepted_or_not(asked: Any, value: Any, accepted: bool) -> None:
    """Plain cases of each keyword."""
    assert conforms(asked, value) == accepted


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"minProperties": 2}, True),
        ({"properties": {"a": {}}, "required": ["a"], "minProperties": 3}, True),
        ({"properties": {"a": {}}, "required": ["a"], "minProperties": 2}, False),
        (COUNTED | {"minProperties": 3}, False),
    ],
)
def test_properties_that_may_come_twice_are_told(asked: dict[str, Any], told: bool) -> None:
    """Those that are not listed: a grammar does not remember their names."""
    notes = source(schema({"type": "object", **asked})).notes

    assert notes == (("'minProperties' counts a name that comes twice",) if told else ())


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"type": "array", "uniqueItems": True}, "'uniqueItems'"),
        ({"type": "array", "contains": {"type": "string"}}, "'contains'"),
        ({"type": "object", "unevaluatedProperties": False}, "'unevaluatedProperties'"),
        ({"not": {"pattern": r"^(a)\1"}}, "'not'"),
        ({"oneOf": [{"pattern": r"^(a)\1"}, {"pattern": "b$"}]}, "'oneOf'"),
        ({"type": "string", "pattern": r"(?=(a)\1)"}, "look-ahead"),
        ({"type": "string", "pattern": r"(a)\1"}, "backreferences"),
        ({"type": "object", "propertyNames": {"pattern": r"(a)\1", "maxLength": 3}}, "'propertyNames'"),
        (False, "unsatisfiable"),
    ],
)
def test_what_cannot_be_enforced_is_refused_by_name(asked: Any, word: str) -> None:
    """The keyword, or what of it is at fault, is in the message."""
    told = refusal(schema(asked))
    assert told is not None
    assert word.lower() in told.lower()


@pytest.mark.parametrize(
    "asked",
    [
        {"oneOf": [False] * 2000},
        {"oneOf": [{"enum": list(range(3000))}, {"enum": list(range(3000, 6000))}]},
        {"type": "integer", "enum": list(range(3000)), "not": {"enum": list(range(3000, 6000))}},
        {"not": {"enum": [f"{i}" for i in range(5000)]}},
    ],
)
def test_what_takes_long_to_tell_is_not_told(asked: Any) -> None:
    """The schema is refused or enforced as far as it goes, in little time."""
    began = time.thread_time()
    refusal(schema(asked))
    assert time.thread_time() - began < 0.5


def test_long_texts_are_told_apart_by_how_they_begin() -> None:
    """So that no pattern is nested deeper than the compiler reads; it is noted that less is generated."""
    text = "a" * 1500
    asked = {"type": "string", "not": {"const": text}}
    given = [text, text[:-1], text[:-1] + "b", text[:50], text[:50] + "b", "", "b" * 60]
    assert [conforms(asked, each) for each in given] == [False, False, False, True, True, True, True]
    assert source(schema(asked)).notes == ("'not' is enforced more narrowly than it is meant",)
    assert source(schema({"not": {"const": text[:50]}})).notes == ()


@pytest.mark.parametrize(
    ("asked", "good", "bad"),
    [
        ({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}, -(10**18), 2**63),
        ({"type": "integer", "minimum": 0, "maximum": 2**64}, 2**62, 2**63),
        ({"type": "number", "minimum": -1.8e308, "maximum": 1.7e308}, -1.5, None),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 3.4e38}, 1e15, 0),
        ({"type": "string", "maxLength": 2**53 - 1}, "a", None),
        ({"type": "array", "maxItems": 2**64}, [1], None),
    ],
)
def test_bounds_that_nobody_reaches_are_no_reason_to_refuse(asked: Any, good: Any, bad: Any) -> None:
    """Programs write those of their types into schemas."""
    asked = {key: min(max(v, -1.7e308), 1.7e308) if isinstance(v, float) else v for key, v in asked.items()}
    assert conforms(asked, good)
    assert not conforms(asked, bad)


HUGE = 10**400
"""A whole number that no float holds."""


@pytest.mark.parametrize(
    ("asked", "good", "bad"),
    [
        ({"type": "string", "maxLength": HUGE}, "a", 1),
        ({"type": "array", "maxItems": 2.0**70}, [1], "a"),
        ({"type": "object", "maxProperties": HUGE}, {"a": 1}, "a"),
        ({"type": "string", "minLength": HUGE}, None, "a"),
        ({"type": "object", "propertyNames": {"maxLength": 2**53 - 1}}, {"ab": 1}, "a"),
        ({"type": "object", "propertyNames": {"minLength": 2, "maxLength": 2**32}}, {"ab": 1}, {"a": 1}),
        ({"not": {"type": "string", "maxLength": 2**33}}, 1, "a"),
        ({"not": {"type": "string", "maxLength": 2**31 - 1}}, 1, "a"),
        ({"not": {"type": "array", "minItems": HUGE}}, [1], None),
    ],
)
def test_sizes_that_nothing_has_are_no_reason_to_fail(asked: Any, good: Any, bad: Any) -> None:
    """Wherever they stand, and however large they are."""
    assert good is None or conforms(asked, good)
    assert bad is None or not conforms(asked, bad)


@pytest.mark.parametrize("text", ['{"minimum": 1e999}', '{"maxItems": 1e999}', '{"multipleOf": 1e999}'])
def test_a_number_that_is_none_is_told(text: str) -> None:
    """As any other value that is no keyword's."""
    told = refusal(Grammar(text, "schema", Kind.JSON_SCHEMA))
    assert told is not None
    assert "which must be" in told


@pytest.mark.parametrize("keyword", ["const", "minimum", "maximum", "exclusiveMinimum", "multipleOf"])
def test_a_number_that_no_grammar_has_is_refused(keyword: str) -> None:
    """Or a bound of it is brought into reach; nothing else goes wrong."""
    for asked in ({keyword: HUGE}, {"not": {keyword: HUGE}}, {"oneOf": [{keyword: HUGE}, {keyword: 1}]}):
        refusal(schema({"type": "integer", **asked}))
    refusal(schema({"$ref": f"#/anyOf/{'1' * 5000}", "anyOf": [True]}))


@pytest.mark.parametrize(
    ("asked", "good", "bad"),
    [
        ({"minimum": 5, "exclusiveMinimum": True}, 6, 5),
        ({"minimum": 5, "exclusiveMinimum": False}, 5, 4),
        ({"maximum": 5, "exclusiveMaximum": True}, 4, 5),
        ({"exclusiveMaximum": True}, 5, None),
        ({"not": {"minimum": 5, "exclusiveMinimum": True}}, 5, 6),
        ({"not": {"maximum": 5, "exclusiveMaximum": True}}, 5, 4),
        ({"not": {"minimum": 5, "exclusiveMinimum": False}}, 4, 5),
    ],
)
def test_bounds_of_draft_4_are_bounds(asked: Any, good: int, bad: int | None) -> None:
    """True and false say whether the bound itself conforms, under ``not`` too."""
    assert conforms({"type": "integer", **asked}, good)
    assert bad is None or not conforms({"type": "integer", **asked}, bad)


@pytest.mark.parametrize("place", ["components/schemas", "x-defs", "$defs"])
def test_keywords_that_are_null_say_nothing_where_references_lead(place: str) -> None:
    """Whatever the place is called, and from there on too."""
    parts: Any = {
        "N": {"type": "integer", "minimum": None, "enum": None},
        "L": {"type": "array", "items": {"$ref": f"#/{place}/N"}, "maxItems": None},
        "E": {"enum": [{"minimum": None}]},
    }
    for name in reversed(place.split("/")):
        parts = {name: parts}
    asked = {**parts, "properties": {"a": {"$ref": f"#/{place}/L"}, "b": {"$ref": f"#/{place}/E"}}}
    assert conforms(asked, {"a": [1], "b": {"minimum": None}})
    assert not conforms(asked, {"a": ["x"]})


def test_a_bound_beyond_what_is_counted_leaves_nothing_between() -> None:
    """What lies behind it is not generated, rather than let in."""
    assert refusal(schema({"type": "integer", "minimum": 2**64})) is not None
    (note,) = source(schema({"type": "number", "maximum": 1e30})).notes
    assert note == "'maximum' is enforced more narrowly than it is meant"


def test_a_keyword_that_is_null_says_nothing() -> None:
    """As if it were not there; where null is a value it stays one."""
    keywords = (
        "required",
        "enum",
        "anyOf",
        "items",
        "additionalProperties",
        "minimum",
        "pattern",
        "type",
        "$ref",
    )
    parts = {
        "a": {"type": "integer", "minimum": None},
        "b": None,
        "c": {"const": None},
        "d": {"enum": [None]},
    }
    asked = {**dict.fromkeys(keywords), "properties": parts}
    assert source(schema(asked)) == source(
        schema(
            {"properties": {"a": {"type": "integer"}, "b": True, "c": {"const": None}, "d": {"enum": [None]}}}
        )
    )


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"properties": []}, "'properties', which must be an object of schemas"),
        ({"properties": {"a": "string"}}, "'properties', which must be"),
        ({"properties": {"a": {"required": True}}}, "'required', which must be an array of strings"),
        ({"minProperties": "1"}, "'minProperties', which must be a whole number"),
        ({"type": ["string", None]}, "'type', which must be"),
        ({"not": {"type": [{}]}}, "'type', which must be"),
        ({"anyOf": {}}, "'anyOf', which must be an array of schemas"),
    ],
)
def test_what_is_no_keywords_value_is_told(asked: Any, words: str) -> None:
    """By the keyword, wherever it stands."""
    told = refusal(schema(asked))
    assert told is not None
    assert words in told


def test_white_space_is_bounded() -> None:
    """At most one space, after a comma or a colon."""
    asked = schema({"type": "object"})
    assert accepts(asked, '{"a": [1, 2], "b":{}}')
    for text in ('{"a":  1}', '{ "a":1}', '{"a":1 }', '{"a":\n1}', ' {"a":1}'):
        assert not accepts(asked, text)


def test_unknown_formats_are_annotations_and_noted() -> None:
    """Each once, wherever it stands; formats of property names that only look so are not."""
    parts = {"x": {"format": "phone"}, "y": {"format": "phone"}, "z": {"enum": [{"format": "no"}]}}
    assert source(schema({"properties": parts})).notes == ("the format 'phone' is not enforced",)


def test_the_callers_options_for_the_compiler_are_not_taken() -> None:
    """They could let in any white space."""
    asked = {"type": "object", "x-guidance": {"whitespace_flexible": True, "lenient": True}}
    assert not accepts(schema(asked), '{"a":    1}')
    assert refusal(schema({**asked, "uniqueItems": True})) is not None


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ("a|bc", "bc", "b"),
        ("^[0-9]{3}$", "123", "1234"),
        ("a/b", "a/b", "ab"),
        ("(\n|x)y", "\ny", "y"),
    ],
)
def test_a_regex_is_matched_as_a_whole(text: str, good: str, bad: str) -> None:
    """With or without anchors."""
    grammar = Grammar(text, "regex", Kind.REGEX)
    assert accepts(grammar, good)
    assert not accepts(grammar, bad)


def test_choices_may_begin_alike_and_hold_anything() -> None:
    """Quotes, line ends and grammar's own signs are text."""
    texts = ["a", "ab", 'say "x"\n', "/a/ | <b>", "é"]
    grammar = Grammar(json.dumps(texts), "choice", Kind.CHOICE)
    assert all(accepts(grammar, text) for text in texts)
    assert not accepts(grammar, "abc")


def test_grammars_of_llama_cpp_are_taken_too() -> None:
    """Known by their sign of definition."""
    grammar = Grammar('root ::= "yes" | no\nno ::= "n" [o0]+', "lark", Kind.LARK)
    assert accepts(grammar, "noo0")
    assert not accepts(grammar, "root")


CLOSED: list[tuple[Any, Any, bool]] = [
    ({"properties": {"a": {"type": "integer"}}}, {"a": 1, "b": 2}, False),
    ({"properties": {"a": {"type": "integer"}}}, {"a": 2**53 + 2}, False),
    ({"properties": {"a": {"type": "integer", "minimum": 5}}}, {"a": 2**60}, True),
    ({"properties": {"a": {}}, "additionalProperties": True}, {"a": 1, "b": 2}, True),
    ({"properties": {"a": {}}, "required": ["b"]}, {"b": 2}, True),
    ({"type": "object"}, {"b": 2}, True),
    ({"items": {"properties": {"a": {}}}}, [{"b": 1}], False),
    ({"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}, "required": ["b"]}]}, {"b": 1}, True),
    (
        {"$defs": {"x": {"properties": {"a": {}}}}, "allOf": [{"$ref": "#/$defs/x"}, {"required": ["b"]}]},
        {"b": 1},
        True,
    ),
    ({"$defs": {"x": {"properties": {"a": {}}}}, "items": {"$ref": "#/$defs/x"}}, [{"b": 1}], False),
]


@pytest.mark.parametrize(("asked", "value", "accepted"), CLOSED)
def test_what_is_left_open_is_closed_unless_needed(asked: Any, value: Any, accepted: bool) -> None:
    """A schema with all that it asks for, and an end."""
    assert conforms(closed(asked), value) == accepted
    assert Draft7Validator(asked).is_valid(value)
