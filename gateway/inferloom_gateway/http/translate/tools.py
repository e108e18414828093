"""OpenAI's tools, and the functions of before, as the contract's."""

from collections.abc import Sequence

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.tools import (
    AllowedTool,
    CustomTool,
    Function,
    OldChoice,
    OldFunction,
    Tool,
    ToolChoice,
)
from inferloom_gateway.http.translate.options import json_text
from inferloom_gateway.http.translate.tool_names import Names
from inferloom_mesh.errors import InferloomError, invalid

_MODES = {
    "auto": pb.TOOL_CHOICE_MODE_AUTO,
    "none": pb.TOOL_CHOICE_MODE_NONE,
    "required": pb.TOOL_CHOICE_MODE_REQUIRED,
}


def tools(given: Sequence[Tool] | None) -> list[pb.Tool]:
    """Tools. Raises InferloomError for one that lacks what its type needs, or has another type's name."""
    made, names = [], Names()
    for index, tool in enumerate(given or ()):
        made.append(_tool(f"tools[{index}]", tool))
        names.add(f"tools[{index}].{tool.type}", made[-1].name, tool.type)
    return made


def old_functions(given: Sequence[OldFunction] | None) -> list[pb.Tool]:
    """Functions as before there were tools."""
    return [_function(f"functions[{index}]", function) for index, function in enumerate(given or ())]


def tool_choice(choice: ToolChoice | None) -> pb.ToolChoice | None:
    """A choice of tools. Raises InferloomError for one that lacks what its type needs."""
    if choice is None:
        return None
    match choice.type:
        case "function":
            if choice.function is None:
                raise missing("tool_choice.function")
            return pb.ToolChoice(function_name=choice.function.name)
        case "custom":
            if choice.custom is None:
                raise missing("tool_choice.custom")
            return pb.ToolChoice(function_name=choice.custom.name)
        case "allowed_tools":
            allowed = choice.allowed_tools
            if allowed is None:
                raise missing("tool_choice.allowed_tools")
            if not allowed.tools:
                raise invalid(
                    "tool_choice.allowed_tools.tools",
                    "Invalid 'tool_choice.allowed_tools.tools': must have at least 1 entry.",
                )
            names = [_allowed(index, tool) for index, tool in enumerate(allowed.tools)]
            return pb.ToolChoice(mode=_MODES[allowed.mode], allowed_names=names)
        case mode:
            return pb.ToolChoice(mode=_MODES[mode])


def old_choice(choice: OldChoice | None) -> pb.ToolChoice | None:
    """A choice of functions as before there were tools."""
    if choice is None:
        return None
    if choice.general:
        return pb.ToolChoice(mode=_MODES[choice.name])
    return pb.ToolChoice(function_name=choice.name)


def missing(param: str) -> InferloomError:
    """The error for a field that has to be there."""
    return invalid(param, f"Missing required parameter: '{param}'.")


def _allowed(index: int, tool: AllowedTool) -> str:
    named = tool.function if tool.type == "function" else tool.custom
    if named is None:
        raise missing(f"tool_choice.allowed_tools.tools[{index}].{tool.type}")
    return named.name


def _tool(where: str, tool: Tool) -> pb.Tool:
    if tool.type == "function":
        if tool.function is None:
            raise missing(f"{where}.function")
        return _function(f"{where}.function", tool.function)
    if tool.custom is None:
        raise missing(f"{where}.custom")
    return pb.Tool(
        name=tool.custom.name,
        description=tool.custom.description or "",
        custom=_custom(f"{where}.custom", tool.custom),
    )


def _function(where: str, function: OldFunction) -> pb.Tool:
    return pb.Tool(
        name=function.name,
        description=function.description or "",
        parameters_json_schema=json_text(f"{where}.parameters", function.parameters),
        strict=function.strict if isinstance(function, Function) else None,
    )


def _custom(where: str, tool: CustomTool) -> pb.CustomTool:
    if tool.format is None or tool.format.type == "text":
        return pb.CustomTool()
    grammar = tool.format.grammar
    if grammar is None:
        raise missing(f"{where}.format.grammar")
    if grammar.syntax == "lark":
        return pb.CustomTool(lark=grammar.definition)
    return pb.CustomTool(regex=grammar.definition)
