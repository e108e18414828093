"""Tools in OpenAI's words become the contract's, and calls come back in the shape that was asked for."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.chat import ChatCompletionRequest
from inferloom_gateway.http.translate import chat
from inferloom_gateway.http.translate.outcome import Outcome
from inferloom_gateway.http.translate.plan import Plan
from inferloom_mesh.errors import InferloomError
from inferloom_worker.validate.chat import check_chat

F: dict[str, Any] = {"type": "function", "function": {"name": "f"}}
GRAMMAR = {"type": "grammar", "grammar": {"syntax": "regex", "definition": "a+"}}
C: dict[str, Any] = {"type": "custom", "custom": {"name": "c", "description": "d", "format": GRAMMAR}}


def plan(**fields: Any) -> Plan:
    """What a request becomes."""
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}
    return chat.plan(ChatCompletionRequest.model_validate(body), "r", 1)


def asked(**fields: Any) -> pb.ChatInput:
    """Its conversation."""
    return plan(**fields).parts[0].request.chat


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_AUTO)),
        ("none", pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_NONE)),
        ("required", pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_REQUIRED)),
        ({"type": "function", "function": {"name": "f"}}, pb.ToolChoice(function_name="f")),
        ({"type": "custom", "custom": {"name": "c"}}, pb.ToolChoice(function_name="c")),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [F, C]}},
            pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_REQUIRED, allowed_names=["f", "c"]),
        ),
    ],
)
def test_every_choice_is_carried(choice: Any, expected: pb.ToolChoice) -> None:
    """In OpenAI's five forms."""
    assert asked(tools=[F, C], tool_choice=choice).tool_choice == expected


def test_custom_tools_and_their_calls_are_carried() -> None:
    """With their grammars; a call's text is its arguments."""
    call = {"id": "1", "type": "custom", "custom": {"name": "c", "input": "aa"}}
    turns = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    found = asked(tools=[C, {"type": "custom", "custom": {"name": "t"}}], messages=turns)

    assert found.tools[0] == pb.Tool(name="c", description="d", custom=pb.CustomTool(regex="a+"))
    assert found.tools[1] == pb.Tool(name="t", custom=pb.CustomTool())
    assert found.messages[0].parts[0].tool_call == pb.ToolCall(id="1", name="c", arguments="aa", custom=True)


def test_a_name_of_a_function_and_of_a_custom_tool_is_refused() -> None:
    """Whose a call is could not be told. The same function may be there twice."""
    with pytest.raises(InferloomError) as caught:
        asked(tools=[F, {"type": "custom", "custom": {"name": "f"}}])
    assert caught.value.param == "tools[1].custom.name"
    assert [tool.name for tool in asked(tools=[F, C, F]).tools] == ["f", "c", "f"]


def test_parallel_calls_effort_and_reasoning_are_carried() -> None:
    """Effort and verbosity as variables, after which the body's own come."""
    found = asked(
        parallel_tool_calls=False,
        reasoning_effort="low",
        verbosity="high",
        chat_template_kwargs={"verbosity": "mine"},
        messages=[{"role": "assistant", "content": "a", "reasoning": "r"}],
    )

    assert found.HasField("parallel_tool_calls")
    assert not found.parallel_tool_calls
    assert dict(found.template.variables) == {"reasoning_effort": "low", "verbosity": "mine"}
    assert found.messages[0].parts[0].reasoning == "r"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("chat.tools[1].parameters_json_schema", "tools[1].function.parameters"),
        ("chat.tools[1].custom.lark", "tools[1].custom"),
        ("chat.tool_choice.function_name", "tool_choice.function.name"),
        ("chat.tool_choice.allowed_names[1]", "tool_choice.allowed_tools.tools[1]"),
        ("chat.template.variables.reasoning_effort", "reasoning_effort"),
        ("chat.template.variables.mood", "chat_template_kwargs"),
    ],
)
def test_errors_name_what_the_caller_sent(path: str, name: str) -> None:
    """Fields of the contract have other names."""
    assert plan().parts[0].rename(path).startswith(name)


def test_tools_may_be_nested_as_deeply_as_workers_take_them() -> None:
    """Schemas travel as text, which a Struct's depth does not bound."""

    def schema(levels: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(levels - 1):
            found = {"a": found}
        return found

    found = asked(tools=[{"type": "function", "function": {"name": "f", "parameters": schema(60)}}])
    check_chat(found)
    assert found.tools[0].parameters_json_schema.count("{") == 60
    with pytest.raises(InferloomError) as caught:
        asked(tools=[{"type": "function", "function": {"name": "f", "parameters": schema(70)}}])
    assert caught.value.param == "tools[0].function.parameters"


@pytest.mark.parametrize(
    ("role", "field"),
    [
        *(("user", field) for field in ("reasoning", "reasoning_content", "refusal", "tool_calls")),
        *((role, "tool_call_id") for role in ("user", "assistant", "system", "function")),
    ],
)
def test_what_belongs_to_turns_of_another_role_is_refused(role: str, field: str) -> None:
    """It would be dropped. Empty, it says nothing."""
    call = {"id": "1", "function": {"name": "f", "arguments": "{}"}}
    turn = {"role": role, "content": "a", "name": "f"}
    with pytest.raises(InferloomError) as caught:
        asked(messages=[{**turn, field: [call] if field == "tool_calls" else "x"}])
    assert caught.value.param == f"messages[0].{field}"
    asked(messages=[{**turn, field: None}, {**turn, field: [] if field == "tool_calls" else ""}])


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ({"type": "json_object", "json_schema": {"schema": {}}}, "response_format.json_schema"),
        ({"type": "text", "json_schema": {"schema": {}}}, "response_format.json_schema"),
        ({"type": "text", "schema": {}}, "response_format.schema"),
    ],
)
def test_a_schema_that_nothing_would_be_held_to_is_refused(wanted: dict[str, Any], param: str) -> None:
    """Whoever sends it relies on it."""
    with pytest.raises(InferloomError) as caught:
        plan(response_format=wanted)
    assert caught.value.param == param
    plan(response_format={"type": "json_object", "schema": {}})


@pytest.mark.parametrize("tier", ["priority", "scale", "fast", "ultrafast"])
def test_every_tier_that_a_client_knows_is_taken(tier: str) -> None:
    """At every endpoint alike."""
    assert plan(service_tier=tier).parts[0].request.priority == 10


def test_functions_of_before_become_tools() -> None:
    """One call at most; errors speak of functions."""
    made = plan(functions=[{"name": "f"}], function_call={"name": "f"})
    found, rename = made.parts[0].request.chat, made.parts[0].rename

    assert list(found.tools) == [pb.Tool(name="f")]
    assert found.tool_choice == pb.ToolChoice(function_name="f")
    assert found.HasField("parallel_tool_calls")
    assert rename("chat.tools[0].parameters_json_schema") == "functions[0].parameters"
    assert rename("chat.tool_choice.function_name") == "function_call"
    auto = asked(functions=[{"name": "f"}], function_call="auto")
    assert auto.tool_choice == pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_AUTO)
    with pytest.raises(InferloomError) as caught:
        plan(tools=[F], function_call="auto")
    assert caught.value.param == "function_call"


PARTS = [
    pb.ToolCallDelta(index=0, id="i", name="f"),
    pb.ToolCallDelta(index=0, arguments="{}"),
    pb.ToolCallDelta(index=1, id="j", name="c", arguments="a", custom=True),
    pb.ToolCallDelta(index=1, arguments="b", custom=True),
]


def events(parts: Sequence[pb.ToolCallDelta]) -> list[pb.GenerateResponse]:
    """An answer with reasoning and calls."""
    deltas = [pb.Delta(reasoning="hm"), *(pb.Delta(tool_calls=[part]) for part in parts)]
    return [
        pb.GenerateResponse(started=pb.Started()),
        *(pb.GenerateResponse(delta=delta) for delta in deltas),
        pb.GenerateResponse(finished=pb.Finished(reason=pb.FINISH_REASON_TOOL_CALLS)),
    ]


def answered(made: Plan, parts: Sequence[pb.ToolCallDelta]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The choice of the one body, and the choices of the chunks."""
    outcome, encoder = Outcome(1), made.parts[0].encoder
    frames = b""
    for event in events(parts):
        outcome.add(event)
        match event.WhichOneof("event"):
            case "started":
                frames += encoder.started(event.started)
            case "delta":
                frames += encoder.delta(event.delta)
            case _:
                frames += encoder.finished(event.finished)
    chunks = [orjson.loads(line[6:])["choices"][0] for line in frames.split(b"\n\n") if line]
    return orjson.loads(made.body([outcome]))["choices"][0], chunks


def test_calls_and_reasoning_are_answered() -> None:
    """Whole, and in parts, each of its kind; reasoning under both names."""
    choice, chunks = answered(plan(tools=[F, C]), PARTS)

    assert choice["finish_reason"] == chunks[-1]["finish_reason"] == "tool_calls"
    message = choice["message"]
    assert (message["content"], message["reasoning"], message["reasoning_content"]) == (None, "hm", "hm")
    assert message["tool_calls"] == [
        {"id": "i", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "j", "type": "custom", "custom": {"name": "c", "input": "ab"}},
    ]
    deltas = [chunk["delta"] for chunk in chunks]
    assert {"reasoning": "hm", "reasoning_content": "hm"} in deltas
    assert [part for each in deltas for part in each.get("tool_calls", ())] == [
        {"index": 0, "id": "i", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": "{}"}},
        {"index": 1, "id": "j", "type": "custom", "custom": {"name": "c", "input": "a"}},
        {"index": 1, "custom": {"input": "b"}},
    ]


def test_calls_of_functions_of_before_are_answered_in_their_shape() -> None:
    """Without an id, and with a finish reason of their own."""
    choice, chunks = answered(plan(functions=[{"name": "f"}]), PARTS[:2])

    assert choice["finish_reason"] == chunks[-1]["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == {"name": "f", "arguments": "{}"}
    assert "tool_calls" not in choice["message"]
    parts = [chunk["delta"]["function_call"] for chunk in chunks if "function_call" in chunk["delta"]]
    assert parts == [{"name": "f", "arguments": ""}, {"arguments": "{}"}]
