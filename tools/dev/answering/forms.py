"""Cases: answers that must conform, and calls of tools."""

import json
import re
from typing import Any

from openai import AsyncOpenAI

from answering.asking import chat, complete, format_of, streamed, with_
from answering.case import Case, Seen

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "maximum": 120, "minimum": 0},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
_SCHEMA = format_of("json_schema", json_schema={"name": "person", "schema": PERSON, "strict": True})

WEATHER: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Tells the weather of a city.",
            "strict": True,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "maxLength": 12}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
]
_NAMED = {"type": "function", "function": {"name": "get_weather"}}
_TOOLS = {"tools": WEATHER, "max_tokens": 80}


async def _calls(client: AsyncOpenAI, model: str, **more: Any) -> Seen:
    """Whole and in a stream."""
    whole = (await chat(client, model, **_TOOLS, **more))["choices"][0]
    return [whole, await streamed(client, model, **_TOOLS, **more)]


async def _answered(client: AsyncOpenAI, model: str) -> Seen:
    """A call's result, given back."""
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'},
    }
    turns = [
        {"role": "user", "content": "How is the weather in Rome?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Sunny, 25 degrees."},
    ]
    return await chat(client, model, messages=turns, tools=WEATHER)


def _person(seen: Seen) -> bool:
    one = seen["choices"][0]
    found = json.loads(one["text"])
    return sorted(found) == ["age", "name"] and one["finish"] == "stop"


def _is(pattern: str) -> Any:
    return lambda seen: bool(re.fullmatch(pattern, seen["choices"][0]["text"]))


def _called(seen: Seen) -> bool:
    return all(
        each["calls"]
        and each["calls"][0][0] == "get_weather"
        and bool(json.loads(each["calls"][0][1])["city"])
        and each["finish"] in ends
        for each, ends in zip(seen, (("tool_calls", "stop"),) * 2, strict=True)
    )


def _called_once(seen: Seen) -> bool:
    return _called(seen) and all(len(each["calls"]) == 1 for each in seen)


def _held(**to: Any) -> dict[str, Any]:
    return {"max_tokens": 24, "extra_body": {"structured_outputs": to}}


CASES = (
    Case("JSON Schema", with_(chat, **_SCHEMA), _person, ("response_format", "json_schema")),
    Case(
        "JSON Schema, drawn",
        with_(chat, **_SCHEMA, temperature=1, seed=5),
        _person,
        ("response_format", "json_schema"),
    ),
    Case(
        "any JSON object",
        with_(
            chat,
            **{**format_of("json_object"), "max_tokens": 200},
            messages=[{"role": "user", "content": 'Answer with JSON: {"a": 1}'}],
        ),
        lambda seen: (
            seen["choices"][0]["finish"] == "length"
            or isinstance(json.loads(seen["choices"][0]["text"]), dict)
        ),
        ("response_format", "json_object"),
    ),
    Case(
        "a choice",
        with_(chat, **_held(choice=["red", "blue"])),
        _is("red|blue"),
        ("structured_outputs", "choice"),
    ),
    Case(
        "a regular expression",
        with_(chat, **_held(regex="(yes|no), [0-9]{3}")),
        _is("(yes|no), [0-9]{3}"),
        ("structured_outputs", "regex"),
    ),
    Case(
        "a grammar (Lark)",
        with_(chat, **_held(grammar='start: "yes" | "no"')),
        _is("yes|no"),
        ("structured_outputs", "lark"),
    ),
    Case(
        "a grammar (GBNF)",
        with_(chat, **_held(grammar='root ::= "yes" | "no"')),
        _is("yes|no"),
        ("structured_outputs", "gbnf"),
    ),
    Case(
        "a text that conforms",
        with_(complete, **_held(choice=["red", "blue"])),
        _is("red|blue"),
        ("structured_outputs", "choice", "completion"),
    ),
    Case("tools that may be called", with_(chat, **_TOOLS), lambda seen: bool(seen["choices"]), ("tools",)),
    Case(
        "a call that must be made", with_(_calls, tool_choice="required"), _called, ("tools", "tool_choice")
    ),
    Case("a call of one tool", with_(_calls, tool_choice=_NAMED), _called, ("tools", "tool_choice")),
    Case(
        "no calls",
        with_(chat, **_TOOLS, tool_choice="none"),
        lambda seen: not seen["choices"][0]["calls"],  # who forbids calls asks nothing of the model
    ),
    Case(
        "one call at a time",
        with_(_calls, tool_choice="required", parallel_tool_calls=False),
        _called_once,
        ("tools", "parallel_tool_calls"),
    ),
    Case("a call's result", _answered, lambda seen: bool(seen["choices"][0]["text"]), ("tools",)),
)
