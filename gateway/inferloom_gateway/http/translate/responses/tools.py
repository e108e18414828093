"""The tools of a response as the contract's, and as the answer repeats them."""

from collections.abc import Mapping, Sequence
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.response_tools import CalledTool, ResponseTool, ResponseToolChoice
from inferloom_gateway.http.translate.options import json_text
from inferloom_gateway.http.translate.responses.namespaces import Placed, flat
from inferloom_gateway.http.translate.tools import missing
from inferloom_mesh.errors import InferloomError, invalid, shown

_MODES = {
    "auto": pb.TOOL_CHOICE_MODE_AUTO,
    "none": pb.TOOL_CHOICE_MODE_NONE,
    "required": pb.TOOL_CHOICE_MODE_REQUIRED,
}


def tools(given: Sequence[ResponseTool] | None) -> list[pb.Tool]:
    """The tools that a model is told of. Raises InferloomError for what the contract cannot express."""
    return [_tool(placed) for placed in flat(given)]


def tool_choice(
    choice: ResponseToolChoice | None, given: Sequence[ResponseTool] | None
) -> pb.ToolChoice | None:
    """Which of them it may or must call, by the names that a model calls them.

    Raises:
        InferloomError: It names a tool that is not given.
    """
    if choice is None:
        return None
    called: dict[tuple[str, str], str] = {
        (placed.tool.type, placed.name): placed.tool.name for placed in flat(given)
    }
    match choice.type:
        case "function" | "custom":
            if choice.name is None:
                raise missing("tool_choice.name")
            if (choice.type, choice.name) not in called:
                raise _unknown("tool_choice.name", choice.type, choice.name, called)
            return pb.ToolChoice(function_name=choice.name)
        case "allowed_tools":
            if not choice.tools:
                raise missing("tool_choice.tools")
            for index, tool in enumerate(choice.tools):
                if (tool.type, tool.name) not in called:
                    raise _unknown(f"tool_choice.tools[{index}].name", tool.type, tool.name, called)
            allowed = [tool.name for tool in choice.tools]
            return pb.ToolChoice(mode=_MODES[choice.mode or "auto"], allowed_names=allowed)
        case mode:
            return pb.ToolChoice(mode=_MODES[mode])


def repeated(given: Sequence[ResponseTool] | None) -> list[dict[str, Any]]:
    """The tools as a response repeats them."""
    return [_repeated(tool) for tool in given or ()]


def repeated_choice(choice: ResponseToolChoice | None) -> str | dict[str, Any]:
    """The choice as a response repeats it."""
    if choice is None:
        return "auto"
    match choice.type:
        case "function" | "custom":
            return {"type": choice.type, "name": choice.name}
        case "allowed_tools":
            named = [{"type": tool.type, "name": tool.name} for tool in choice.tools or ()]
            return {"type": "allowed_tools", "mode": choice.mode or "auto", "tools": named}
        case mode:
            return mode


def _tool(placed: Placed) -> pb.Tool:
    where, tool = placed.place, placed.tool
    if tool.type == "custom":
        return pb.Tool(name=placed.name, description=placed.description, custom=_custom(where, tool))
    return pb.Tool(
        name=placed.name,
        description=placed.description,
        parameters_json_schema=json_text(f"{where}.parameters", tool.parameters),
        strict=tool.strict,
    )


def _custom(where: str, tool: ResponseTool | CalledTool) -> pb.CustomTool:
    wanted = tool.format
    if wanted is None or wanted.type == "text":
        return pb.CustomTool()
    if wanted.syntax is None:
        raise missing(f"{where}.format.syntax")
    if wanted.definition is None:
        raise missing(f"{where}.format.definition")
    if wanted.syntax == "lark":
        return pb.CustomTool(lark=wanted.definition)
    return pb.CustomTool(regex=wanted.definition)


def _repeated(tool: ResponseTool | CalledTool) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": tool.type, "name": tool.name}
    if tool.description is not None or tool.type == "function":
        shown["description"] = tool.description
    if isinstance(tool, ResponseTool) and tool.type == "namespace":
        return shown | {"tools": [_repeated(inner) for inner in tool.tools or ()]}
    if tool.type == "function":
        return shown | {"parameters": tool.parameters, "strict": tool.strict}
    wanted = tool.format
    if wanted is None or wanted.type == "text":
        return shown | {"format": {"type": "text"}}
    return shown | {"format": {"type": "grammar", "syntax": wanted.syntax, "definition": wanted.definition}}


def _unknown(param: str, kind: str, name: str, called: Mapping[tuple[str, str], str]) -> InferloomError:
    """The error for a tool that is not there by this name; what is called so in a namespace is told."""
    message = f"Invalid '{param}': there is no tool '{shown(name)}' among tools."
    full = next((full for (of, full), own in called.items() if (of, own) == (kind, name)), None)
    return invalid(param, message if full is None else f"{message} In its namespace it is '{full}'.")
