"""What grammars let a model write where it calls is what the form's reader reads, and nothing else."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from inferloom_worker.constrain.grammar import Grammar
from inferloom_worker.output.calls.forms import BY_NAME, FORMS, GENERIC, Arguments, ToolForm
from inferloom_worker.output.calls.grammar import CallableTool, Rule, tool_grammar
from inferloom_worker.output.calls.offer import Offer
from inferloom_worker.output.calls.schemas import arguments_schema, relaxed
from inferloom_worker.output.reasoning import BY_NAME as REASONING
from tests.worker import grammars

CITY = {"properties": {"city": {"type": "string"}, "n": {"type": "integer"}}, "required": ["city"]}
TOOLS = [
    CallableTool("get", arguments_schema(CITY)),
    CallableTool("get_weather", arguments_schema({"type": "object", "properties": {}})),
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
    if form.arguments is Arguments.KEYWORDS:
        given = ", ".join(f"{key}={json.dumps(value)}" for key, value in arguments.items())
    else:
        given = json.dumps(arguments)
    return f"{form.begin}{name}{form.named}{given}{form.end}"


def both(form: ToolForm) -> str:
    """Two calls."""
    calls = (call(form, "get", city='a "}', n=3), call(form, "get_weather"))
    return f"{form.first}{form.between.join(calls)}{form.last}"


MUST, ONE, MAY = Rule(must=True), Rule(must=True, most=1), Rule(must=False)
EVERY = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)


@EVERY
def test_calls_that_must_be_are_what_the_reader_reads(form: ToolForm) -> None:
    """One or several, of the tools that there are, and nothing around them."""
    text = both(form)
    reader = form.reader(Offer({"get": False, "get_weather": False}, str))
    parts = [*reader.push(text).tool_calls, *reader.flush().tool_calls]

    assert accepts(form, TOOLS, MUST, text)
    assert [part.name for part in parts] == ["get", "get_weather"]
    assert json.loads(parts[0].arguments) == {"city": 'a "}', "n": 3}
    assert not accepts(form, TOOLS, ONE, text)
    single = f"{form.first}{call(form, 'get_weather')}{form.last}"
    assert accepts(form, TOOLS, ONE, single)
    for other in (f"Well: {single}", f"{single} Well.", "Well.", text[:-1]):
        assert not accepts(form, TOOLS, MUST, other)


@EVERY
def test_arguments_conform(form: ToolForm) -> None:
    """What is required is there, and nothing that no property names."""
    for arguments in ({}, {"n": 1}, {"city": 1}, {"city": "a", "n": "1"}, {"city": "a", "m": 1}):
        text = f"{form.first}{call(form, 'get', **arguments)}{form.last}"
        assert not accepts(form, TOOLS, MUST, text)
    assert accepts(form, TOOLS, MUST, f"{form.first}{call(form, 'get', city='a')}{form.last}")


@EVERY
def test_text_is_free_until_a_call_begins(form: ToolForm) -> None:
    """Where a mark shows that; from there on it is a call. Without a mark there is nothing to enforce."""
    if tool_grammar(form, TOOLS, MAY, lambda mark: None) is None:
        assert form.name in ("llama3", "llama4", "pythonic")
        return
    text = both(form)

    for answer in ("Well.", f"Well: {text}", f"{text} Well.", f"{text}{text}"):
        assert accepts(form, TOOLS, MAY, answer)
    assert not accepts(form, TOOLS, MAY, f"{form.trigger} Well.")
    assert not accepts(form, TOOLS, Rule(must=False, most=1), f"{text} Well.")


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
    closed = Draft202012Validator(arguments_schema(schema))

    for value in VALUES:
        if closed.is_valid(value):
            assert Draft202012Validator(schema).is_valid(value)
    assert not closed.is_valid([])


def test_a_schema_is_relaxed_where_grammars_lack_a_keyword() -> None:
    """At any depth; values stay what they are."""
    schema = {
        "properties": {"pattern": {"oneOf": [{"type": "array", "uniqueItems": True}], "enum": [{"not": 1}]}}
    }

    assert relaxed(schema) == {
        "properties": {"pattern": {"anyOf": [{"type": "array"}], "enum": [{"not": 1}]}}
    }
