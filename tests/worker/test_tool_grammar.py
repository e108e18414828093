"""What grammars let a model write where it calls is what the form's reader reads, and nothing else."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from inferloom_worker.constrain.grammar import Grammar
from inferloom_worker.constrain.schema_closing import closed_object
from inferloom_worker.output.calls import tagged_presence
from inferloom_worker.output.calls.form import ToolForm
from inferloom_worker.output.calls.forms import BY_NAME, FORMS, GENERIC
from inferloom_worker.output.calls.grammar import CallableTool, Rule, tool_grammar
from inferloom_worker.output.calls.offer import Offer
from inferloom_worker.output.calls.schemas import relaxed
from inferloom_worker.output.calls.tagged_presence import holds
from inferloom_worker.output.calls.tagged_schema import unsaid
from inferloom_worker.output.reasoning import BY_NAME as REASONING
from tests.worker import grammars
from tests.worker.heard import heard

CITY = {"properties": {"city": {"type": "string"}, "n": {"type": "integer"}}, "required": ["city"]}
TOOLS = [
    CallableTool("get", closed_object(CITY)),
    CallableTool("get_weather", closed_object({"type": "object", "properties": {}})),
]
TEXTS = [CallableTool("say", {}, ""), CallableTool("count", {}, "start: /[0-9]+/")]
SAID = '<custom_tool_call name="say">\na\n</custom\n</custom_tool_call>'
COUNTED = '<custom_tool_call name="count">\n12\n</custom_tool_call>'


def accepts(form: ToolForm, tools: list[CallableTool], rule: Rule, text: str) -> bool:
    """Whether an answer may be this text, for a vocabulary in which no mark is a token."""
    grammar = tool_grammar(form, tools, rule, lambda mark: None)
    assert grammar is not None
    return grammars.accepts(Grammar(grammar), text)


def call(form: ToolForm, name: str, **arguments: Any) -> str:
    """A call as the form spells it."""
    text = form.spelled([(name, json.dumps(arguments))])
    return text[len(form.first) : len(text) - len(form.last)]


def both(form: ToolForm) -> str:
    """Two calls."""
    first, second = ("get", '{"city": "a \\"}", "n": 3}'), ("get_weather", "{}")
    return form.spelled([first] if form.alone else [first, second])


MUST, ONE, MAY = Rule(must=True), Rule(must=True, most=1), Rule(must=False)
EVERY = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)


@EVERY
def test_calls_that_must_be_are_what_the_reader_reads(form: ToolForm) -> None:
    """One or several, of the tools that there are, and nothing around them."""
    text = both(form)
    reader = form.reader(Offer({"get": False, "get_weather": False}, str))
    parts = heard(reader.push(text), reader.flush()).tool_calls

    assert accepts(form, TOOLS, MUST, text)
    arguments = "".join(part.arguments for part in parts if part.index == 0)
    assert [part.name for part in parts if part.name] == ["get", "get_weather"][: 1 if form.alone else 2]
    assert json.loads(arguments) == {"city": 'a "}', "n": 3}
    assert accepts(form, TOOLS, ONE, text) is form.alone
    single = f"{form.first}{call(form, 'get_weather')}{form.last}"
    assert accepts(form, TOOLS, ONE, single)
    for other in (f"Well: {single}", f"{single} Well.", "Well.", text[:-1]):
        assert not accepts(form, TOOLS, MUST, other)


@EVERY
def test_arguments_conform(form: ToolForm) -> None:
    """What is required is there, and nothing that no property names."""
    wrong: list[dict[str, Any]] = [{}, {"n": 1}, {"city": "a", "n": "b"}, {"city": "a", "m": 1}]
    if form.tags is None:  # without quotes, 1 is a text too
        wrong += [{"city": 1}, {"city": "a", "n": "1"}]
    for arguments in wrong:
        text = f"{form.first}{call(form, 'get', **arguments)}{form.last}"
        assert not accepts(form, TOOLS, MUST, text)
    assert accepts(form, TOOLS, MUST, f"{form.first}{call(form, 'get', city='a')}{form.last}")


@EVERY
def test_text_is_free_until_a_call_begins(form: ToolForm) -> None:
    """Where a mark shows that; from there on it is a call. Without a mark there is nothing to enforce."""
    if tool_grammar(form, TOOLS, MAY, lambda mark: None) is None:
        assert form.name in ("llama4", "harmony")
        return
    if form.name in ("llama3", "pythonic"):
        return  # nothing marks their calls
    text = both(form)

    for answer in ("Well.", f"Well: {text}", f"{text} Well.", f"{text}{text}"):
        assert accepts(form, TOOLS, MAY, answer)
    assert not accepts(form, TOOLS, MAY, f"{form.trigger} Well.")
    assert not accepts(form, TOOLS, Rule(must=False, most=1), f"{text} Well.")


@pytest.mark.parametrize("name", ["llama3", "pythonic"])
def test_calls_without_a_mark_begin_with_an_answer(name: str) -> None:
    """With a tool's name and what stands behind it; all other text is free, also what begins like one."""
    form = BY_NAME[name]
    text, single = both(form), f"{form.first}{call(form, 'get', city='a')}{form.last}"
    begun = form.first + form.begin + "get" + form.named

    for answer in (
        "Well.",
        text,
        f"\n{text}",
        f"{text} Well.",
        f"Well: {begun}",
        begun[:-1],
        f"{begun[:-1]}!",
    ):
        assert accepts(form, TOOLS, MAY, answer)
    assert accepts(form, TOOLS, MAY, begun.replace("get", "other"))
    for answer in (begun, f"{begun} oops", single[:-1], begun + form.end + form.last):
        assert not accepts(form, TOOLS, MAY, answer)
    one = Rule(must=False, most=1)
    assert accepts(form, TOOLS, one, single)
    assert not accepts(form, TOOLS, one, text)


VALUED = {
    "type": "object",
    "properties": {
        "unit": {"enum": ["a", "b c"]},
        "code": {"type": "string", "pattern": "^[A-Z]{2}$"},
        "name": {"type": "string", "minLength": 2, "maxLength": 3},
        "near": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "list": {"type": "array", "items": {"$ref": "#/$defs/flag"}},
    },
    "required": ["unit"],
    "additionalProperties": {"type": "integer"},
    "$defs": {"flag": {"type": "boolean"}},
}


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("form", [form for form in FORMS if form.tags], ids=lambda form: form.name)
def test_values_without_quotes_conform(form: ToolForm, tokens: bool) -> None:
    """What text can have of a schema; the rest is told. Marks that are tokens end text too."""
    tool = CallableTool("get", VALUED)
    spelled = {mark: 256 + at for at, mark in enumerate(form.marks)}

    def derives(**arguments: Any) -> bool:
        if tokens:
            assert tool_grammar(form, [tool], ONE, spelled.get)
        return accepts(form, [tool], ONE, form.spelled([("get", json.dumps(arguments))]))

    good: dict[str, Any] = {"unit": "b c", "code": "AB", "name": "äöü", "near": "</x>\n", "list": [True]}
    assert derives(**good)
    assert derives(unit="a", near=None, more=1)
    for wrong in (
        {"unit": "c"},
        {"code": "ab"},
        {"name": "x"},
        {"name": "long"},
        {"list": [1]},
        {"more": "x"},
    ):
        assert not derives(**{"unit": "a", **wrong})
    assert not derives(code="AB")
    assert unsaid(VALUED) == []


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"properties": {"a": {"type": "string", "format": "date"}}}, ["'format' of 'a'"]),
        ({"properties": {"a": {"type": "string", "pattern": "b", "maxLength": 3}}}, []),
        ({"properties": {"a": {"pattern": "b"}}}, ["'pattern' of 'a'"]),
        ({"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "integer", "maximum": 3}]}}}, ["'a'"]),
        ({"properties": {"a": {"type": "integer", "maximum": 3}}, "title": "b"}, []),
        ({"allOf": [{"required": ["a"]}]}, []),
        ({"allOf": [{"properties": {"a": {"minimum": 3}}}]}, ["'allOf'"]),
    ],
)
def test_what_text_cannot_have_of_a_schema_is_told(schema: dict[str, Any], told: list[str]) -> None:
    """By its keyword."""
    assert unsaid(schema) == told


def test_marks_that_are_tokens_are_spelled_as_tokens() -> None:
    """Special tokens have no text in grammars."""
    tokens = {"[TOOL_CALLS]": 5, "[ARGS]": 6}
    grammar = tool_grammar(BY_NAME["mistral-args"], TOOLS, MUST, tokens.get)

    assert grammar is not None
    assert all(mark not in grammar for mark in tokens)
    assert "<[5]>" in grammar
    assert "<[6]>" in grammar
    assert tool_grammar(BY_NAME["llama3"], TOOLS, MAY, {"<|python_tag|>": 7}.get) is not None


def test_tools_that_take_text_come_after_the_others() -> None:
    """In a form of their own; what is between is what their grammar derives."""
    function = call(GENERIC, "get_weather")

    for answer in (SAID, COUNTED, f"{function}\n{SAID}\n{COUNTED}", f"{COUNTED}\n{SAID}"):
        assert accepts(GENERIC, TOOLS + TEXTS, MUST, answer)
    assert accepts(GENERIC, TOOLS + TEXTS, MAY, f"Well: {COUNTED} and {function} and {SAID}!")
    assert not accepts(GENERIC, TOOLS + TEXTS, MUST, COUNTED.replace("12", "a"))
    assert not accepts(GENERIC, TOOLS + TEXTS, ONE, f"{function}\n{SAID}")


def test_reasoning_may_come_before_calls_that_must_be() -> None:
    """Begun by the prompt or by the model."""
    function, think = call(GENERIC, "get_weather"), REASONING["think"]

    opened = Rule(must=True, reasoning=think, opened=True)
    assert accepts(GENERIC, TOOLS, opened, f"Hm.</think>\n\n{function}")
    assert not accepts(GENERIC, TOOLS, opened, function)
    free = Rule(must=True, reasoning=think)
    assert accepts(GENERIC, TOOLS, free, function)
    assert accepts(GENERIC, TOOLS, free, f"<think>Hm.</think>\n{function}")
    assert not accepts(GENERIC, TOOLS, free, f"Hm.</think>{function}")


def test_an_answer_that_is_no_call_can_have_a_form_of_its_own() -> None:
    """It is one or the other."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    rule = Rule(must=False, answer=json.dumps({"grammars": [{"json_schema": schema}]}))
    function = call(GENERIC, "get_weather")

    assert accepts(GENERIC, TOOLS, rule, '{"a": 1}')
    assert accepts(GENERIC, TOOLS, rule, function)
    for other in ("Well.", '{"b": 1}', f'{{"a": 1}}{function}'):
        assert not accepts(GENERIC, TOOLS, rule, other)


@pytest.mark.parametrize("tools", [[], TOOLS])
@pytest.mark.parametrize("name", ["think", "channel"])
def test_reasoning_may_come_before_an_answer_that_has_a_form(name: str, tools: list[CallableTool]) -> None:
    """Begun by the prompt, it must end before the answer, whether or not there are tools."""
    answer, think = json.dumps({"grammars": [{"json_schema": {"const": {"a": 1}}}]}), REASONING[name]
    end = think.end

    def derives(text: str, opened: bool) -> bool:
        rule = Rule(must=False, reasoning=think, opened=opened, answer=answer)
        return accepts(GENERIC, tools, rule, text)

    assert derives(f'Hm {{"a": 2}}.{end}\n\n{{"a": 1}}', opened=True)
    assert not derives('{"a": 1}', opened=True)
    assert not derives(f'Hm.{end}{{"a": 2}}', opened=True)
    assert derives('{"a": 1}', opened=False)
    assert derives(f'{think.begin}Hm.{end}\n{{"a": 1}}', opened=False)
    assert not derives('Hm.{"a": 1}', opened=False)


SCHEMAS: list[dict[str, Any]] = [
    {},
    {"type": "object"},
    CITY,
    {"type": "object", "properties": {"a": {"type": "object"}}, "additionalProperties": {"type": "string"}},
    {"type": "object", "properties": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}}, "$defs": {"b": CITY}},
    {"type": "object", "required": ["x"]},
    {"allOf": [{"properties": {"a": {"type": "object"}}}, {"required": ["b"]}]},
    {"type": "object", "minProperties": 3, "properties": {"a": {}}},
]
VALUES: list[Any] = [
    {},
    {"city": "a"},
    {"city": "a", "z": 1},
    {"a": {}},
    {"a": {"b": 1}},
    {"x": 1},
    {"a": 1, "b": 2},
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_closing_a_schema_only_narrows_it(schema: dict[str, Any]) -> None:
    """What conforms to what is enforced conforms to what was asked for, and is an object."""
    closed = Draft202012Validator(closed_object(schema))

    for value in VALUES:
        if closed.is_valid(value):
            assert Draft202012Validator(schema).is_valid(value)
    assert not closed.is_valid([])


PET = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
DOG = {
    "allOf": [
        {"$ref": "#/$defs/Pet"},
        {"type": "object", "properties": {"bark": {"type": "string"}}, "required": ["bark"]},
    ]
}
SHARED = {
    "type": "object",
    "properties": {"kind": {"type": "string"}},
    "required": ["kind"],
    "anyOf": [{"properties": {name: {"type": "integer"}}, "required": [name]} for name in "ab"],
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (
            {"properties": {"pet": {"$ref": "#/$defs/Dog"}}, "$defs": {"Pet": PET, "Dog": DOG}},
            {"pet": {"name": "x", "bark": "y"}},
        ),
        (SHARED, {"kind": "x", "a": 1}),
        ({"properties": {"free": {"type": "object"}}}, {"free": {"any": "thing"}}),
    ],
    ids=["several of one object", "alternatives beside what they share", "free"],
)
def test_closing_leaves_what_several_schemas_say_together(schema: dict[str, Any], value: Any) -> None:
    """What is asked for stays possible; where a schema names no properties, any."""
    assert Draft202012Validator(closed_object(schema)).is_valid(value)


def test_a_function_without_parameters_has_none() -> None:
    """Nothing is to be said where nothing is asked for."""
    for schema in ({}, {"type": "object"}, {"type": "object", "properties": {}}):
        assert not Draft202012Validator(closed_object(schema)).is_valid({"any": "thing"})


def test_a_schema_is_relaxed_where_grammars_lack_a_keyword() -> None:
    """At any depth; values stay what they are."""
    schema = {
        "properties": {"pattern": {"oneOf": [{"type": "array", "uniqueItems": True}], "enum": [{"not": 1}]}}
    }

    assert relaxed(schema) == {
        "properties": {"pattern": {"anyOf": [{"type": "array"}], "enum": [{"not": 1}]}}
    }


def test_a_schema_is_relaxed_where_a_reference_leads_nowhere() -> None:
    """Into definitions that stand elsewhere than at the root, round in a circle, or out of the schema."""
    inner = {"$defs": {"F": {"type": "string"}}, "$ref": "#/$defs/F"}
    parts = {"a": inner, "b": {"$ref": "https://example.org/s"}, "c": {"$ref": "#/$defs/G"}}
    asked = {"properties": parts, "$defs": {"G": {"type": "null"}, "H": {"$ref": "#/$defs/H"}}}

    assert relaxed(asked) == {
        "properties": {"a": {"$defs": inner["$defs"]}, "b": {}, "c": {"$ref": "#/$defs/G"}},
        "$defs": {"G": {"type": "null"}, "H": {}},
    }


@pytest.mark.parametrize(
    "condition",
    [
        {"maxProperties": 10**12},
        {"not": {"minProperties": 10**12}},
        {"anyOf": [{"minProperties": 10**9 + at} for at in range(900)] + [{"maxProperties": 10**8}]},
    ],
)
def test_numbers_that_nothing_reaches_are_not_counted_to(
    condition: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is looked at is bounded, whatever the numbers are; and the rules have none that is too large."""
    looked = 0

    def watched(*args: Any) -> bool:
        nonlocal looked
        looked += 1
        assert looked < 10_000
        return holds(*args)

    monkeypatch.setattr(tagged_presence, "holds", watched)
    form = BY_NAME["qwen3-coder"]
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, **condition}

    assert unsaid(schema) == []
    assert accepts(form, [CallableTool("f", schema)], ONE, form.spelled([("f", '{"a": "b"}')]))


def test_conditions_of_presence_are_looked_at_within_bounds() -> None:
    """Where there is more, it is told."""
    names = [f"a{at}" for at in range(13)]
    ways = [{"required": [name], "maxProperties": at} for at in range(100) for name in names]
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}, "oneOf": ways}

    assert unsaid(schema) == ["'oneOf'"]


def test_names_between_tags_are_free_where_they_lack_a_pattern_for_any_dialect() -> None:
    """Letters beyond ASCII are in ``\\w`` for some."""
    form = BY_NAME["qwen3-coder"]
    asked = {"type": "object", "patternProperties": {r"^\w+$": {"type": "integer"}}}

    def let_through(**arguments: Any) -> bool:
        return accepts(form, [CallableTool("f", asked)], ONE, form.spelled([("f", json.dumps(arguments))]))

    assert unsaid(asked) == []
    assert let_through(a=1)
    assert let_through(**{"-": "t"})
    assert not let_through(a="t")
    assert not let_through(é="t")


def test_a_pattern_between_tags_is_read_by_itself() -> None:
    """What closes a bracket that it did not open is none."""
    asked = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?i)a)|(b"}}}
    form = BY_NAME["qwen3-coder"]
    grammar = tool_grammar(form, [CallableTool("f", asked)], ONE, lambda mark: None)
    assert grammar is not None

    assert grammars.refusal(Grammar(grammar, "chat.tools")) is not None
    asked["properties"]["a"]["pattern"] = "^(?i:a)$"  # type: ignore[index]
    assert accepts(form, [CallableTool("f", asked)], ONE, form.spelled([("f", '{"a": "A"}')]))
    assert not accepts(form, [CallableTool("f", asked)], ONE, form.spelled([("f", '{"a": "b"}')]))
