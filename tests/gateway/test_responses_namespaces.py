"""Tools of a namespace have longer names for the model, and their own ones for who calls them."""

from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.responses import ResponseRequest
from inferloom_gateway.http.translate.responses.assembly import Assembly
from inferloom_gateway.http.translate.responses.document import begun
from inferloom_gateway.http.translate.responses.items import kept
from inferloom_gateway.http.translate.responses.names import Names
from inferloom_gateway.http.translate.responses.replay import replayed
from inferloom_gateway.http.translate.responses.request import Asked, check, generation
from inferloom_gateway.http.translate.responses.turns import rename, turns
from inferloom_mesh.errors import InferloomError, Reason

NAME = "resp_" + "a" * 30
NOW = {"type": "function", "name": "now", "parameters": {}}
RUN = {"type": "custom", "name": "run", "description": "Runs it."}
JS = {"type": "function", "name": "js", "description": "Evaluates.", "parameters": {"type": "object"}}
NODE = {"type": "namespace", "name": "mcp__node", "description": "A kernel.", "tools": [JS, RUN]}


def body(**more: Any) -> ResponseRequest:
    """A request with tools."""
    return ResponseRequest.model_validate({"model": "m", "input": "Hi", "tools": [NOW, NODE], **more})


def asked(request: ResponseRequest) -> Asked:
    """What workers get of it."""
    assert request.input is not None
    items = kept(request.input, Names(NAME), lambda sealed: None, {}, ())
    return generation(request, "r", turns(None, [], items))


def test_the_model_is_told_of_all_tools_and_of_what_they_are_for() -> None:
    """A namespace's description stands once; faults are named where the caller wrote the tool."""
    made = asked(body())
    now, js, run = made.request.chat.tools

    assert (now.name, js.name, run.name) == ("now", "mcp__node__js", "mcp__node__run")
    assert (js.description, run.description) == ("A kernel.\n\nEvaluates.", "Runs it.")
    assert run.HasField("custom")
    name = rename(made.turns, made.tools)
    assert name("chat.tools[0].name") == "tools[0].name"
    assert name("chat.tools[1].parameters_json_schema") == "tools[1].tools[0].parameters"


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "function", "name": "mcp__node__js"},
        {"type": "allowed_tools", "tools": [{"type": "function", "name": "mcp__node__js"}]},
    ],
)
def test_a_tool_in_a_namespace_is_chosen_by_the_name_that_a_model_reads(choice: dict[str, Any]) -> None:
    """Its own name alone may be that of several."""
    made = asked(body(tool_choice=choice)).request.chat.tool_choice
    assert [made.function_name or made.allowed_names[0]] == ["mcp__node__js"]
    (named,) = [choice, *choice.get("tools", [])][-1:]
    named["name"] = "js"
    with pytest.raises(
        InferloomError, match=r"no tool 'js' among tools\. In its namespace it is 'mcp__node__js'"
    ):
        asked(body(tool_choice=choice))


@pytest.mark.parametrize("kind", ["text", "json_object"])
def test_a_schema_that_nothing_would_be_held_to_is_refused(kind: str) -> None:
    """Whoever sends it relies on it."""
    with pytest.raises(InferloomError) as caught:
        check(body(text={"format": {"type": kind, "schema": {"type": "object"}}}))
    assert caught.value.param == "text.format.schema"
    check(body(text={"format": {"type": kind}}))


@pytest.mark.parametrize(("custom", "tool"), [(False, "js"), (True, "run")])
def test_a_call_is_told_with_its_namespace_and_comes_back_with_it(custom: bool, tool: str) -> None:
    """In the answer, in all its events, replayed, and in the conversation that goes on."""
    called = pb.ToolCallDelta(index=0, id="c", name=f"mcp__node__{tool}", custom=custom, arguments="{}")
    assembly = Assembly(begun(body(), NAME, 1, store=True), clock=lambda: 2.0)
    told = [
        event
        for each in (
            pb.GenerateResponse(started=pb.Started()),
            pb.GenerateResponse(delta=pb.Delta(tool_calls=[called])),
            pb.GenerateResponse(completed=pb.Completed()),
        )
        for event in assembly.add(each)
    ]
    (item,) = assembly.document["output"]

    assert (item["namespace"], item["name"]) == ("mcp__node", tool)
    assert [event["item"]["namespace"] for event in told if "item" in event] == ["mcp__node"] * 2
    assert [event["item"] for event in replayed(assembly.document) if "item" in event][-1] == item
    result = {"type": f"{item['type']}_output", "call_id": "c", "output": "1"}
    user, call, _ = asked(body(input=[{"role": "user", "content": "Hi"}, item, result])).request.chat.messages
    assert user.parts[0].text == "Hi"
    assert call.parts[0].tool_call.name == f"mcp__node__{tool}"


def test_a_namespace_is_repeated_as_it_was() -> None:
    """With its tools in it."""
    shown = begun(body(), NAME, 1, store=True)["tools"][1]

    assert (shown["type"], shown["name"], shown["description"]) == ("namespace", "mcp__node", "A kernel.")
    assert [tool["name"] for tool in shown["tools"]] == ["js", "run"]


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"type": "namespace", "name": "a"}, "tools[0].tools"),
        ({"type": "namespace", "name": "a", "tools": [{**NOW, "name": "b" * 126}]}, "tools[0].tools[0].name"),
    ],
)
def test_what_is_wrong_with_a_namespace_is_named(tool: dict[str, Any], param: str) -> None:
    """One without tools, and a name that is too long for the model."""
    with pytest.raises(InferloomError) as caught:
        asked(body(tools=[tool]))
    assert caught.value.param == param


def space(name: str, *tools: dict[str, Any]) -> dict[str, Any]:
    """A namespace."""
    return {"type": "namespace", "name": name, "tools": [*tools]}


@pytest.mark.parametrize(
    ("first", "second", "param"),
    [
        ({**NOW, "name": "crm__find"}, space("crm", {**NOW, "name": "find"}), "tools[1].tools[0].name"),
        (space("crm", {**NOW, "name": "find"}), {**RUN, "name": "crm__find"}, "tools[1].name"),
        (space("a", {**NOW, "name": "b__c"}), space("a__b", {**NOW, "name": "c"}), "tools[1].tools[0].name"),
        (space("a", JS), space("a", {**RUN, "name": "js"}), "tools[1].tools[0].name"),
        (NOW, {**RUN, "name": "now"}, "tools[1].name"),
    ],
)
def test_a_name_of_two_tools_is_refused(first: dict[str, Any], second: dict[str, Any], param: str) -> None:
    """Whose a call is could not be told."""
    with pytest.raises(InferloomError) as caught:
        asked(body(tools=[first, second]))
    assert (caught.value.reason, caught.value.param) == (Reason.INVALID_ARGUMENT, param)


def test_the_same_tool_may_be_there_twice() -> None:
    """By itself, in its namespace, and in the other half of it."""
    made = asked(body(tools=[NOW, NOW, space("a", JS, JS), space("a", RUN, JS), space("b", JS)]))
    assert [tool.name for tool in made.request.chat.tools] == [
        *("now", "now", "a__js", "a__js", "a__run", "a__js", "b__js")
    ]


@pytest.mark.parametrize("kind", ["web_search", "namespace"])
def test_a_namespace_has_only_tools_that_can_be_called(kind: str) -> None:
    """Those that a service would run are refused by name, wherever they stand."""
    with pytest.raises(InferloomError) as caught:
        body(tools=[{**NODE, "tools": [JS, {**NODE, "type": kind}]}])
    assert caught.value.param == "tools[0].tools[1]"
