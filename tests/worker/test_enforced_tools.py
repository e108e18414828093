"""A call that is let through has arguments that conform to the tool's schema, in every form."""

import json
import time
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError
from inferloom_worker.constrain.grammar import Ending, Grammar
from inferloom_worker.constrain.patterns import Work
from inferloom_worker.hosting.dialect import Dialect
from inferloom_worker.hosting.tool_constraint import enforced
from inferloom_worker.output.calls.form import Arguments
from inferloom_worker.output.calls.raw_values import argument_types, value_of
from inferloom_worker.output.calls.tagged_schema import unsaid
from tests.worker import grammars
from tests.worker.heard import heard
from tests.worker.test_dialect import dialect
from tests.worker.test_tool_constraint import Seen
from tests.worker.tool_templates import TEMPLATES

TAGGED = ("qwen3-coder", "glm47", "minimax-m2")
EVERY = (*TAGGED, "hermes", "pythonic", "kimi-k2")
NAMES = ("a", "b", "c")
GIVEN: list[Any] = [None, True, 0, 5, 1.5, "", "x", "5", "1.5", "null", "xyz", [], [5], ["x"], {}, {"a": 5}]


@cache
def known(name: str) -> Dialect:
    """The dialect of a template."""
    return dialect(TEMPLATES[name])


class Compiled(Seen):
    """A constraint whose grammar compiles."""

    def __init__(self, grammar: Grammar, *, ending: Ending | None = None) -> None:
        super().__init__(grammar, ending=ending)
        self.start = grammars.matcher(grammar)


class Tool:
    """A tool of one schema, which must be called."""

    def __init__(self, form: str, schema: dict[str, Any], *, strict: bool = True) -> None:
        tool = pb.Tool(name="f", parameters_json_schema=json.dumps(schema), strict=strict)
        required = pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_REQUIRED)
        self._chat = pb.ChatInput(tools=[tool], tool_choice=required)
        self._dialect = known(form)
        made = enforced(self._dialect, self._chat, "Hi", None, Compiled)
        assert made is not None
        assert isinstance(made.constraint, Compiled)
        self.notes: Sequence[str] = made.notes
        self._start = made.constraint.start

    def accepts(self, arguments: dict[str, Any]) -> bool:
        """Whether a call may have these arguments, in a way of spelling them."""
        form, text = self._dialect.form, json.dumps(arguments)
        more = [f"{form.first}f(**{text}){form.last}"] if form.arguments is Arguments.KEYWORDS else []
        return any(self.derives(each) for each in (form.spelled([("f", text)]), *more))

    def derives(self, text: str) -> bool:
        """Whether an answer may be this text."""
        return grammars.derives(self._start, text)

    def read(self, arguments: dict[str, Any]) -> Any:
        """What a call with these arguments is read as."""
        (reader,) = self._dialect.reading(self._chat, "Hi", 7).parsers(0)
        text = self._dialect.form.spelled([("f", json.dumps(arguments))])
        calls = heard(reader.push(text), reader.flush()).tool_calls
        return json.loads("".join(call.arguments for call in calls))


def refused(form: str, schema: dict[str, Any]) -> str:
    """Why a strict tool is refused."""
    with pytest.raises(InferloomError) as caught:
        Tool(form, schema)
    assert caught.value.param == "chat.tools[0].parameters_json_schema"
    return caught.value.message


INTEGER = {"type": "integer"}
REFERENCES = st.sampled_from(
    ["#/$defs/X", "#/$defs/F", "#/definitions/F", "#/properties/b", "#foo", "#bar", "https://x/y"]
)
VALUES = st.recursive(
    st.booleans()
    | st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"]).map(
        lambda name: {"type": name}
    )
    | st.lists(st.sampled_from(GIVEN), min_size=1, max_size=3).map(lambda values: {"enum": values})
    | st.sampled_from(GIVEN).map(lambda value: {"const": value})
    | REFERENCES.map(lambda reference: {"$ref": reference})
    | st.fixed_dictionaries(
        {"type": st.sampled_from(["string", ["string", "null"], ["integer", "string"]])},
        optional={
            "minLength": st.integers(0, 2),
            "maxLength": st.integers(0, 3),
            "pattern": st.sampled_from(["^x", "5", "z$", "^(?!x)", "^x$|5"]),
            "enum": st.just(["x", "5", None]),
            "minimum": st.just(3),
        },
    ),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"anyOf": parts})
        | st.lists(inner, min_size=2, max_size=2).map(lambda parts: {"allOf": parts})
        | inner.map(lambda part: {"type": "array", "items": part})
        | inner.map(lambda part: {"type": "object", "properties": {"a": part}, "required": ["a"]})
        | st.builds(
            lambda part: {"$defs": {"F": INTEGER}, **part}, inner.filter(lambda p: isinstance(p, dict))
        )
    ),
    max_leaves=4,
)
SCHEMAS = st.fixed_dictionaries(
    {
        "type": st.just("object"),
        "properties": st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=2),
    },
    optional={
        "required": st.lists(st.sampled_from(NAMES), max_size=2, unique=True),
        "minProperties": st.integers(0, 3),
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "^(?!a)", "b|z"]), VALUES, max_size=2),
        "additionalProperties": VALUES,
        "$defs": st.fixed_dictionaries({"F": VALUES, "G": st.just({"$anchor": "foo", "type": "integer"})}),
    },
)
ARGUMENTS: list[dict[str, Any]] = [
    {},
    *({name: value} for name in NAMES for value in GIVEN),
    *({"a": one, "b": other} for one in (None, 5, "x") for other in (5, "x", ["x"])),
]


def is_valid(judge: Draft202012Validator, value: Any) -> bool:
    """As the jsonschema package judges; where a reference leads nowhere nothing conforms. Where references go
    round it does not say."""
    try:
        return bool(judge.is_valid(value))
    except RecursionError:
        return True
    except Exception as failure:  # of whichever library resolves references
        if "Unresolvable" in repr(failure):
            return False
        raise


@settings(max_examples=120)
@given(form=st.sampled_from(EVERY), schema=SCHEMAS, strict=st.booleans())
def test_no_call_is_let_through_whose_arguments_do_not_conform(
    form: str, schema: dict[str, Any], strict: bool
) -> None:
    """Unless the tool need not be strict, and a note says so."""
    try:
        tool = Tool(form, schema, strict=strict)
    except InferloomError:
        return
    assert not (strict and tool.notes)
    if tool.notes:
        return
    judge = Draft202012Validator(schema)
    for arguments in ARGUMENTS:
        if tool.accepts(arguments):
            found = tool.read(arguments)
            assert is_valid(judge, found), (arguments, found)


SOME_NAMES = st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True)
TOGETHER = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.just({"a": {"type": "integer"}, "b": {"type": "integer"}})},
    optional={
        "required": SOME_NAMES,
        "minProperties": st.integers(0, 3),
        "maxProperties": st.integers(0, 3),
        "dependentRequired": st.dictionaries(st.sampled_from(NAMES), SOME_NAMES, max_size=2),
        "anyOf": st.lists(SOME_NAMES.map(lambda names: {"required": names}), min_size=1, max_size=2),
        "oneOf": st.lists(SOME_NAMES.map(lambda names: {"required": names}), min_size=1, max_size=2),
        "not": SOME_NAMES.map(lambda names: {"required": names}),
        "propertyNames": st.sampled_from([{"pattern": "^[^b]"}, {"maxLength": 1}, {"enum": ["a", "x"]}]),
        "patternProperties": st.sampled_from([{"^c": {"type": "integer"}}, {"^[cd]$": {"type": "string"}}]),
        "additionalProperties": st.sampled_from([False, {"type": "integer"}]),
    },
)


@settings(max_examples=150)
@given(form=st.sampled_from(TAGGED), schema=TOGETHER)
def test_arguments_between_tags_conform_together(form: str, schema: dict[str, Any]) -> None:
    """How many there are, which need others, and what their names are."""
    try:
        tool = Tool(form, schema)
    except InferloomError:
        return
    assert not tool.notes
    judge = Draft202012Validator(schema)
    for size in range(4):
        for names in combinations((*NAMES, "d"), size):
            for value in (5, "x", "5"):
                arguments = dict.fromkeys(names, value)
                if tool.accepts(arguments):
                    assert is_valid(judge, found := tool.read(arguments)), (arguments, found)


STRING = {"type": "string"}
MIXED: tuple[Any, Any] = ({"a": {"k": "</parameter>"}}, {"a": {"z": 1}})
DEPENDENT = {"properties": {"a": {"type": "integer", "minimum": 3}}}
ODDLY = {"dependentRequired": {f"{at}": [f"{at + 1}"] for at in range(15)}}
MANY = {f"{at}": INTEGER for at in range(16)}
DEEP: dict[str, Any] = INTEGER
for _ in range(12):
    DEEP = {"anyOf": [DEEP, {"type": "null"}]}


@pytest.mark.parametrize("form", TAGGED)
@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"properties": {"a": {"$ref": "#/$defs/X"}}}, "'a'"),
        ({"properties": {"a": {"$ref": "https://x/y"}}}, "'a'"),
        ({"properties": {"a": {"$ref": "#foo"}}, "$defs": {"F": {"$anchor": "foo", **INTEGER}}}, "'a'"),
        ({"properties": {"a": {"$defs": {"F": INTEGER}, "$ref": "#/$defs/F"}}}, "'a'"),
        ({"properties": {"a": {"anyOf": [{"$ref": "#/$defs/X"}, INTEGER]}}}, "'a'"),
        ({"properties": {"a": {"pattern": "x"}}}, "'pattern' of 'a'"),
        ({"properties": {"a": {"type": "string", "enum": ["x", "y"], "pattern": "x"}}}, "'pattern' of 'a'"),
        ({"properties": {"a": {"enum": ["5", 1]}}}, "'a'"),
        ({"properties": {"a": {"const": "</parameter>"}}}, "'a'"),
        ({"additionalProperties": INTEGER, "minProperties": 2}, "'minProperties'"),
        ({"properties": {"a": INTEGER}, "dependentSchemas": {"a": DEPENDENT}}, "'dependentSchemas'"),
        ({"properties": {"a": INTEGER}, "if": DEPENDENT, "then": {"required": ["b"]}}, "'if'"),
        ({"properties": {"ab": INTEGER}, "patternProperties": {"^a": INTEGER}}, "'patternProperties'"),
        ({"properties": MANY, **ODDLY}, "'dependentRequired'"),
        ({"properties": {f"{at}": INTEGER for at in range(60)}, "minProperties": 59}, "'minProperties'"),
        ({"properties": MANY, "anyOf": [{"required": [name]} for name in MANY]}, "'anyOf'"),
        ({"properties": {"a": False}, "required": ["a"]}, "'a'"),
        ({"properties": {"a": DEEP}}, "'a'"),
        ({"properties": {"a>": INTEGER}}, "the name 'a>'"),
        ({"properties": {"format": {"type": "string", "const": "x", "maxLength": 3}}}, "'maxLength'"),
        ({"additionalProperties": {"type": "string", "not": {"const": "x"}}}, "of 'additionalProperties'"),
    ],
)
def test_what_tags_cannot_enforce_is_refused_or_noted(form: str, schema: dict[str, Any], word: str) -> None:
    """By name."""
    assert word in refused(form, {"type": "object", **schema})
    assert word in " ".join(Tool(form, {"type": "object", **schema}, strict=False).notes)


@pytest.mark.parametrize("form", ["qwen3-coder", "glm47", "pythonic", "hermes"])
@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"properties": {"a": STRING}, "required": ["a", "b"]}, {"a": "x", "b": 1}, {"a": "x"}),
        ({"properties": {"a": False, "b": STRING}}, {"b": "x"}, {"a": "x", "b": "x"}),
        ({"properties": {"a": {"anyOf": [False, INTEGER]}}}, {"a": 1}, {"a": "x"}),
        ({"properties": {"a": {"enum": ["x", 5]}}}, {"a": "x"}, {"a": "z"}),
        ({"properties": {"a": {"type": ["string", "null"], "enum": ["x", None, 5]}}}, {"a": None}, {"a": 5}),
        ({"properties": {"a": {"type": ["string", "null"], "minLength": 2}}}, {"a": "xy"}, {"a": "x"}),
        (
            {"properties": {"a": {"type": "array", "items": {"$ref": "#/properties/b"}}, "b": INTEGER}},
            {"a": [1]},
            {"a": ["x"]},
        ),
        (
            {"properties": {"a": INTEGER, "b": {"type": "array", "items": {"$ref": "#"}}}},
            {"b": [{"a": 1}]},
            {"b": [{"a": "x"}]},
        ),
        (
            {
                "properties": {"a": {"$ref": "#/components/X"}},
                "components": {"X": {"type": "array", "items": INTEGER}},
            },
            {"a": [1]},
            {"a": ["x"]},
        ),
        ({"properties": {"a": DEEP["anyOf"][0]["anyOf"][0]["anyOf"][0]["anyOf"][0]}}, {"a": 1}, {"a": "x"}),
        ({"properties": {"a": INTEGER, "b": INTEGER}, "minProperties": 1}, {"b": 1}, {}),
        ({"properties": {"a": INTEGER, "b": INTEGER}, "maxProperties": 1}, {"a": 1}, {"a": 1, "b": 1}),
        ({"properties": {"a": INTEGER, "b": INTEGER}, "minProperties": 2}, {"a": 1, "b": 1}, {"a": 1}),
        ({"properties": dict.fromkeys("abc", INTEGER), "minProperties": 2}, {"a": 1, "c": 1}, {"c": 1}),
        (
            {"properties": dict.fromkeys("abcd", INTEGER), "maxProperties": 2, "required": ["b"]},
            *({"b": 1, "d": 1}, {"a": 1, "b": 1, "d": 1}),
        ),
        ({"additionalProperties": INTEGER, "minProperties": 1}, {"x": 1}, {}),
        ({"properties": {"a": INTEGER, "b": INTEGER}, "dependentRequired": {"a": ["b"]}}, {"b": 1}, {"a": 1}),
        (
            {"properties": {"a": INTEGER, "b": INTEGER}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
            *({"b": 1}, {}),
        ),
        ({"propertyNames": {"pattern": "^[ab]$"}, "additionalProperties": INTEGER}, {"b": 1}, {"c": 1}),
        ({"patternProperties": {"^x": STRING}, "additionalProperties": False}, {"xa": "5"}, {"ax": "5"}),
        (
            {"properties": {"a": {"type": "string", "pattern": "^x", "maxLength": 2}}},
            {"a": "xy"},
            {"a": "xyz"},
        ),
        ({"properties": {"a": {"type": "string", "pattern": "^(?!x)(?!.*z)"}}}, {"a": "yx"}, {"a": "yz"}),
        (
            {"properties": {"a": {"allOf": [{"$ref": "#/$defs/E"}]}}, "$defs": {"E": {"enum": ["x", "y"]}}},
            *({"a": "x"}, {"a": "z"}),
        ),
        ({"properties": {"a": INTEGER}, "propertyNames": {"pattern": "^a"}}, {"a": 1}, {"b": 1}),
        ({"properties": {"a": {"anyOf": [STRING, {"type": "object", "required": ["k"]}]}}}, *MIXED),
    ],
)
def test_what_every_form_can_enforce_it_enforces(
    form: str, schema: dict[str, Any], good: dict[str, Any], bad: dict[str, Any]
) -> None:
    """A strict tool is taken, and nothing is noted."""
    tool = Tool(form, {"type": "object", **schema})
    assert not tool.notes
    assert tool.accepts(good)
    assert not tool.accepts(bad)


@pytest.mark.parametrize("form", TAGGED)
@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (
            {"properties": {"a": INTEGER}, "additionalProperties": INTEGER, "minProperties": 2},
            *({"a": 1, "x": 1}, {"a": 1}),
        ),
        (
            {"properties": {"a": INTEGER}, "additionalProperties": INTEGER, "maxProperties": 2},
            *({"x": 1, "y": 1}, {"a": 1, "x": 1, "y": 1}),
        ),
        (
            {"properties": {"a": INTEGER}, "patternProperties": {"^b": INTEGER, "^c": STRING}},
            *({"a": 1, "bx": 1, "cx": "5"}, {"bx": "x"}),
        ),
    ],
)
def test_arguments_between_tags_are_counted_and_named(
    form: str, schema: dict[str, Any], good: dict[str, Any], bad: dict[str, Any]
) -> None:
    """Those that are not listed too, as far as it is sure that they are not one twice."""
    tool = Tool(form, {"type": "object", **schema})
    assert not tool.notes
    assert tool.accepts(good)
    assert tool.read(good) == good
    assert not tool.accepts(bad)


@pytest.mark.parametrize("form", TAGGED)
def test_what_cannot_be_enforced_of_one_argument_leaves_the_others(form: str) -> None:
    """It may be any value then; the others conform."""
    vague = {"not": {"type": ["array", "object"]}, "pattern": "x"}
    schema = {"type": "object", "properties": {"a": vague, "b": INTEGER}, "required": ["b"]}
    tool = Tool(form, schema, strict=False)
    assert tool.notes
    assert tool.accepts({"a": "y", "b": 1})
    assert not tool.accepts({"a": "y", "b": "x"})


def test_other_arguments_have_other_names() -> None:
    """The last of two of one name would count, and not be what its schema asks for."""
    tool = Tool(
        "qwen3-coder", {"type": "object", "properties": {"a": INTEGER}, "additionalProperties": STRING}
    )
    begin, end = "<tool_call>\n<function=f>\n", "</function>\n</tool_call>"
    of_a, more = "<parameter=a>\n{}\n</parameter>\n", "<parameter=ab>\nx\n</parameter>\n"
    assert tool.derives(begin + of_a.format(5) + more + end)
    assert not tool.derives(begin + of_a.format(5) + of_a.format("x") + end)
    assert not tool.derives(begin + of_a.format("x") + end)


@pytest.mark.parametrize(
    ("form", "tag"), [("qwen3-coder", "</parameter>"), ("seed", "</parameter>"), ("glm47", "</arg_value>")]
)
def test_a_text_has_not_the_tag_that_ends_it(form: str, tag: str) -> None:
    """It would be read as shorter than it has to be, and what is behind it as no arguments."""
    part = {"type": "string", "minLength": 5}
    tool = Tool(form, {"type": "object", "properties": {"a": part, "b": STRING}, "required": ["a", "b"]})
    good = {"a": f"<x>\n{tag[:-1]}\n", "b": "\n<"}
    assert tool.accepts(good)
    assert tool.read(good) == good
    for wrong in ({"a": f"x{tag}yyyy", "b": "x"}, {"a": "xyzxyz", "b": f"x\n{tag}y"}):
        assert not tool.accepts(wrong)


@pytest.mark.parametrize("last", [False, INTEGER, {"anyOf": [{"$ref": "#/$defs/0"}] * 50}])
def test_references_that_lead_to_the_same_ones_again_take_little_time(last: Any) -> None:
    """A strict tool is refused, another noted, and what was called is read."""
    levels = {f"{at}": {"anyOf": [{"$ref": f"#/$defs/{at + 1}"}] * 50} for at in range(7)}
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/0"}}, "$defs": {**levels, "7": last}}
    began = time.thread_time()
    assert unsaid(schema) == ["'a'"]
    assert unsaid({**schema, "properties": {f"{at}": {"$ref": "#/$defs/0"} for at in range(300)}})
    argument_types(schema, "a", Work())
    assert time.thread_time() - began < 0.5


def test_an_alternative_that_nothing_conforms_to_makes_no_text_another_value() -> None:
    """It is read as what the others are."""
    tool = Tool("qwen3-coder", {"type": "object", "properties": {"a": {"anyOf": [False, STRING]}}})
    assert tool.accepts({"a": "null"})
    assert tool.read({"a": "null"}) == {"a": "null"}


@pytest.mark.parametrize("text", ["1e999", "NaN", "Infinity", "1.5"])
def test_what_is_no_number_of_the_schema_stays_text(text: str) -> None:
    """Arguments are JSON, and a fraction is no whole number."""
    tool = Tool("qwen3-coder", {"type": "object", "properties": {"a": {"type": ["string", "integer"]}}})
    assert tool.accepts({"a": text})
    assert tool.read({"a": text}) == {"a": text}


def test_half_a_character_in_a_value_is_replaced() -> None:
    """JSON can write it; no text can have it."""
    assert value_of(frozenset({"object"}), r'{"a": "\ud83d"}') == {"a": "\ufffd"}
