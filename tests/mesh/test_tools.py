"""Tools with the official SDK against the demo model, which was never taught any: grammars see to it."""

import json
from typing import Any

import grpc
import pytest
from jsonschema import validate
from openai import BadRequestError, OpenAI

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from tests.mesh.conftest import CHAT

SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Arguments",
    "properties": {
        "city": {"type": "string", "enum": ["Paris", "Köln"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["city", "days"],
}
WEATHER: Any = {"type": "function", "function": {"name": "get-weather", "parameters": SCHEMA, "strict": True}}
HANDOFF: Any = {
    "type": "function",
    "function": {"name": "transfer_to_billing", "parameters": {"type": "object"}},
}
SUM: Any = {
    "type": "custom",
    "custom": {
        "name": "calculator",
        "format": {
            "type": "grammar",
            "grammar": {"syntax": "lark", "definition": 'start: N "+" N\nN: /[0-9]/'},
        },
    },
}
ASK: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]


def asked(*tools: Any, **fields: Any) -> dict[str, Any]:
    """A request with tools."""
    return {"model": CHAT, "messages": ASK, "tools": list(tools), "max_tokens": 128, "seed": 3, **fields}


def streamed(client: OpenAI, fields: dict[str, Any]) -> tuple[str | None, list[dict[str, Any]], str | None]:
    """The content, calls and finish reason of a streamed answer."""
    content, finish = "", None
    calls: list[dict[str, Any]] = []
    for chunk in client.chat.completions.create(**fields, stream=True):
        (choice,) = chunk.choices
        content += choice.delta.content or ""
        finish = choice.finish_reason or finish
        for part in choice.delta.tool_calls or ():
            if part.id:
                calls.append({"id": part.id, "type": part.type})
            for kind, said in part.model_dump(include={"function", "custom"}).items():
                for key, more in (said or {}).items():
                    of = calls[part.index].setdefault(kind, {})
                    of[key] = of.get(key, "") + (more or "")
    return content or None, calls, finish


NAMED: Any = {"type": "function", "function": {"name": "transfer_to_billing"}}
ALLOWED: Any = {
    "type": "allowed_tools",
    "allowed_tools": {
        "mode": "required",
        "tools": [{"type": "function", "function": {"name": "get-weather"}}],
    },
}


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        (asked(WEATHER, tool_choice="required", parallel_tool_calls=False), {"get-weather"}),
        (asked(WEATHER, HANDOFF, tool_choice=NAMED), {"transfer_to_billing"}),
        (asked(WEATHER, HANDOFF, tool_choice=ALLOWED), {"get-weather"}),
        (asked(WEATHER, HANDOFF, tool_choice="required"), {"get-weather", "transfer_to_billing"}),
    ],
)
def test_a_call_that_must_be_is_one_and_streams_alike(
    client: OpenAI, fields: dict[str, Any], names: set[str]
) -> None:
    """Its name is given, its arguments conform, and its parts make the same call."""
    (choice,) = client.chat.completions.create(**fields).choices

    calls = choice.message.tool_calls or []
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert calls
    for call in calls:
        assert call.type == "function"
        assert call.function.name in names
        schema = SCHEMA if call.function.name == "get-weather" else {"type": "object", "maxProperties": 0}
        validate(json.loads(call.function.arguments), schema)
    assert streamed(client, fields) == (None, [call.model_dump() for call in calls], "tool_calls")


def test_a_custom_tool_takes_text_that_its_grammar_derives(client: OpenAI) -> None:
    """And its call goes back in the next turn."""
    choice: Any = {"type": "custom", "custom": {"name": "calculator"}}
    fields = asked(WEATHER, SUM, tool_choice=choice)
    message = client.chat.completions.create(**fields).choices[0].message

    (call,) = message.tool_calls or []
    assert call.type == "custom"
    first, _, second = call.custom.input.partition("+")
    assert first.isdigit()
    assert second.isdigit()
    assert streamed(client, fields)[1] == [call.model_dump()]
    more = [message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": "7"}]
    answer = client.chat.completions.create(
        **asked(WEATHER, SUM, tool_choice="none", max_tokens=4, messages=[*ASK, *more])
    )
    assert answer.choices[0].message.tool_calls is None


def test_a_call_that_the_model_begins_conforms_too(client: OpenAI) -> None:
    """With auto, from the mark on. After a few calls, even this model makes another."""
    turns: list[Any] = []
    for count in range(5):
        function = {"name": "get-weather", "arguments": '{"city": "Paris", "days": 1}'}
        call = {"id": f"call_{count}", "type": "function", "function": function}
        turns.append({"role": "user", "content": "Call get-weather."})
        turns.append({"role": "assistant", "content": None, "tool_calls": [call]})
        turns.append({"role": "tool", "tool_call_id": call["id"], "content": "Sunny."})
    turns.append({"role": "user", "content": "Call get-weather."})
    fields = asked(WEATHER, messages=turns, temperature=0, parallel_tool_calls=False)
    (choice,) = client.chat.completions.create(**fields).choices

    assert choice.finish_reason == "tool_calls"
    (made,) = choice.message.tool_calls or []
    assert made.type == "function"
    validate(json.loads(made.function.arguments), SCHEMA)
    assert streamed(client, fields) == (choice.message.content, [made.model_dump()], "tool_calls")


def test_functions_of_before_are_answered_in_their_shape(client: OpenAI) -> None:
    """In one body and streamed."""
    fields: dict[str, Any] = {
        **{key: value for key, value in asked().items() if key != "tools"},
        "functions": [WEATHER["function"] | {"strict": None}],
        "function_call": {"name": "get-weather"},
    }
    (choice,) = client.chat.completions.create(**fields).choices

    called = choice.message.function_call
    assert (choice.finish_reason, called and called.name) == ("function_call", "get-weather")
    assert called is not None
    validate(json.loads(called.arguments), SCHEMA)
    chunks = [chunk.choices[0] for chunk in client.chat.completions.create(**fields, stream=True)]
    parts = [chunk.delta.function_call for chunk in chunks if chunk.delta.function_call]
    assert "".join(part.name or "" for part in parts) == "get-weather"
    assert "".join(part.arguments or "" for part in parts) == called.arguments
    assert chunks[-1].finish_reason == "function_call"


def test_what_cannot_be_enforced_is_refused_where_it_must_be(client: OpenAI) -> None:
    """By the keyword, for a strict function; another is held to the rest of its schema."""
    schema = {
        "type": "object",
        "properties": {
            "ids": {"type": "array", "uniqueItems": True, "maxItems": 2, "items": {"type": "boolean"}}
        },
    }
    function: dict[str, Any] = {"name": "f", "parameters": schema, "strict": True}
    fields = asked(
        {"type": "function", "function": function}, tool_choice="required", parallel_tool_calls=False
    )
    with pytest.raises(BadRequestError, match=r"tools\[0\]\.function\.parameters.*uniqueItems"):
        client.chat.completions.create(**fields)

    function["strict"] = False
    (call,) = client.chat.completions.create(**fields).choices[0].message.tool_calls or []
    assert call.type == "function"
    assert len(json.loads(call.function.arguments).get("ids", [])) <= 2


def test_grpc_callers_ask_for_the_same(channel: grpc.Channel) -> None:
    """Parts of a call with its id and name first, and why the answer ended."""
    chat = pb.ChatInput(
        messages=[pb.ChatMessage(role=pb.ROLE_USER, parts=[pb.ContentPart(text="Weather?")])],
        tools=[pb.Tool(name="weather", parameters_json_schema=json.dumps(SCHEMA))],
        tool_choice=pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_REQUIRED),
        parallel_tool_calls=False,
    )
    request = pb.GenerateRequest(model=CHAT, chat=chat, stopping=pb.StoppingOptions(max_tokens=96))
    events = list(InferenceServiceStub(channel).Generate(request))

    parts = [part for event in events for part in event.delta.tool_calls]
    assert (parts[0].name, parts[0].id[:5], parts[0].index) == ("weather", "call_", 0)
    validate(json.loads("".join(part.arguments for part in parts)), SCHEMA)
    assert [e.finished.reason for e in events if e.HasField("finished")] == [pb.FINISH_REASON_TOOL_CALLS]
    card = InferenceServiceStub(channel).ListModels(pb.ListModelsRequest()).models
    assert {model.id: model.tool_format for model in card}[CHAT] == "generic"
