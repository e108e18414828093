"""Tools of responses: functions and custom tools, choices among them, and their calls in the conversation."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai.types.responses import ResponseCustomToolCall

from inferloom.v1 import inference_pb2 as pb
from tests.wire import sdk_types
from tests.wire.fake_worker import FakeWorker, completed, delta, finished, started
from tests.wire.gateway_mesh import GatewayMesh
from tests.wire.response_streams import MODEL, PATH, events_of, says, streamed, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: dict[str, Any] = {"type": "function", "name": "get-weather", "parameters": SCHEMA, "strict": True}
SHELL: dict[str, Any] = {"type": "custom", "name": "shell", "description": "Runs it."}
NUMBER: dict[str, Any] = {
    "type": "custom",
    "name": "number",
    "format": {"type": "grammar", "syntax": "regex", "definition": "[0-9]+"},
}


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway for all tests here."""
    return shared_mesh


async def calls_the_shell(
    worker: FakeWorker, request: pb.GenerateRequest
) -> AsyncIterator[pb.GenerateResponse]:
    """Call a custom tool."""
    yield started(request, worker.id)
    yield delta("", tool_calls=[pb.ToolCallDelta(index=0, id="call_s", name="shell", custom=True)])
    for piece in ("ls ", "-l"):
        yield delta("", tool_calls=[pb.ToolCallDelta(index=0, arguments=piece, custom=True)])
    yield finished(reason=pb.FINISH_REASON_TOOL_CALLS)
    yield completed()


async def test_tools_reach_the_worker(mesh: GatewayMesh) -> None:
    """Functions with their schemas, custom tools with their grammars; the answer repeats them."""
    lark = {"type": "grammar", "syntax": "lark", "definition": 'start: "a"'}
    tools = [WEATHER, SHELL, NUMBER, {"type": "custom", "name": "letters", "format": lark}]
    made = await whole(mesh, input="Hi", tools=tools, parallel_tool_calls=False)
    chat = mesh.worker.requests[0].chat
    assert [tool.name for tool in chat.tools] == ["get-weather", "shell", "number", "letters"]
    assert chat.tools[0].strict
    assert "city" in chat.tools[0].parameters_json_schema
    assert [tool.HasField("custom") for tool in chat.tools] == [False, True, True, True]
    assert (chat.tools[2].custom.regex, chat.tools[3].custom.lark) == ("[0-9]+", 'start: "a"')
    assert chat.parallel_tool_calls is False
    assert made["parallel_tool_calls"] is False
    assert made["tools"][1] == {**SHELL, "format": {"type": "text"}}
    assert made["tools"][2] == NUMBER


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("required", pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_REQUIRED)),
        ("none", pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_NONE)),
        ({"type": "function", "name": "get-weather"}, pb.ToolChoice(function_name="get-weather")),
        ({"type": "custom", "name": "shell"}, pb.ToolChoice(function_name="shell")),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "shell"}]},
            pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_REQUIRED, allowed_names=["shell"]),
        ),
    ],
)
async def test_choices_reach_the_worker(mesh: GatewayMesh, choice: Any, expected: pb.ToolChoice) -> None:
    """A rule, a tool by its name, or the tools that are allowed."""
    made = await whole(mesh, input="Hi", tools=[WEATHER, SHELL], tool_choice=choice)
    assert mesh.worker.requests[0].chat.tool_choice == expected
    assert made["tool_choice"] == choice


async def test_a_custom_tool_is_called(mesh: GatewayMesh) -> None:
    """Its input comes in pieces and whole, and the call and its result are turns of the next response."""
    mesh.worker.script = calls_the_shell
    events = await streamed(mesh, input="Files?", tools=[SHELL])
    kinds = [event["type"] for event in events if "custom" in event["type"]]
    assert kinds == [f"response.custom_tool_call_input.{step}" for step in ("delta", "delta", "done")]
    async with mesh.openai() as client:
        made = await client.responses.create(model=MODEL, input="Files?", tools=[SHELL])  # type: ignore[list-item]
        call = made.output[0]
        assert isinstance(call, ResponseCustomToolCall)
        assert (call.name, call.input, call.call_id) == ("shell", "ls -l", "call_s")
        mesh.worker.script = says("Two.")
        result: Any = [{"type": "custom_tool_call_output", "call_id": "call_s", "output": "a b"}]
        more = await client.responses.create(model=MODEL, input=result, previous_response_id=made.id)
        listed = [item async for item in client.responses.input_items.list(more.id, order="asc")]
        history: Any = [
            {"role": "user", "content": "Files?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "call_s", "type": "custom", "custom": {"name": "shell", "input": "ls -l"}}
                ],
            },
            {"role": "tool", "tool_call_id": "call_s", "content": "a b"},
        ]
        await client.chat.completions.create(model=MODEL, messages=history)
    assert [item.type for item in listed] == ["message", "custom_tool_call", "custom_tool_call_output"]
    assert list(sdk_types.left_over(listed)) == []
    response, chat = mesh.worker.requests[-2:]
    assert response.chat == chat.chat


async def test_a_custom_call_is_replayed(mesh: GatewayMesh) -> None:
    """retrieve with stream tells of it as it was."""
    mesh.worker.script = calls_the_shell
    made = await whole(mesh, input="Files?", tools=[SHELL])
    answer = await mesh.http.get(f"{PATH}/{made['id']}", params={"stream": "true"})
    events = events_of(answer.text)
    assert [e["input"] for e in events if e["type"].endswith("input.done")] == ["ls -l"]
    assert events[-1]["response"] == made


@pytest.mark.parametrize(
    ("more", "param"),
    [
        (
            {"tools": [{**NUMBER, "format": {"type": "grammar", "syntax": "regex"}}]},
            "tools[0].format.definition",
        ),
        ({"tools": [{**WEATHER, "name": "a b"}]}, "tools[0].name"),
        ({"tools": [{**WEATHER, "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tools": [WEATHER], "tool_choice": {"type": "custom", "name": "get-weather"}}, "tool_choice.name"),
        ({"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "mode": "auto"}}, "tool_choice.tools"),
        (
            {
                "tools": [WEATHER],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "mcp", "name": "x"}],
                },
            },
            "tool_choice.tools[0]",
        ),
        (
            {
                "tools": [WEATHER],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "custom", "name": "x"}],
                },
            },
            "tool_choice.tools[0].name",
        ),
    ],
)
async def test_what_a_tool_lacks_is_named(mesh: GatewayMesh, more: dict[str, Any], param: str) -> None:
    """400 at its place."""
    answer = await mesh.http.post(PATH, json={"model": MODEL, "input": "Hi", **more})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
