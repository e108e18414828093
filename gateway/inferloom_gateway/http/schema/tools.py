"""Tools in the body of a chat completion."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from inferloom_gateway.http.schema.base import Part
from inferloom_mesh.tool_name import TOOL_NAME

ToolName = Annotated[str, Field(pattern=f"^{TOOL_NAME}$")]


class OldFunction(Part):
    """A function that the model may call, as before there were tools."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Function(OldFunction):
    """A function that the model may call."""

    strict: bool | None = None


class TextGrammar(Part):
    """A grammar of the text that a custom tool takes."""

    syntax: Literal["lark", "regex"]
    definition: str


class TextFormat(Part):
    """What text a custom tool takes."""

    type: Literal["text", "grammar"]
    grammar: TextGrammar | None = None


class CustomTool(Part):
    """A tool that takes free text."""

    name: ToolName
    description: str | None = None
    format: TextFormat | None = None


class Tool(Part):
    """A tool that the model may call."""

    type: Literal["function", "custom"]
    function: Function | None = None
    custom: CustomTool | None = None


class NamedTool(Part):
    """The name of a tool."""

    name: str


class AllowedTool(Part):
    """A tool, by its name."""

    type: Literal["function", "custom"]
    function: NamedTool | None = None
    custom: NamedTool | None = None


class AllowedTools(Part):
    """The tools that the model may or must choose from."""

    mode: Literal["auto", "required"]
    tools: list[AllowedTool]


class ToolChoice(Part):
    """Whether, or which tool, the model must call; a general rule may stand as a string alone."""

    type: Literal["auto", "none", "required", "function", "custom", "allowed_tools"]
    function: NamedTool | None = None
    custom: NamedTool | None = None
    allowed_tools: AllowedTools | None = None


class OldChoice(NamedTool):
    """Which function the model must call, as before there were tools; a general rule, ``auto`` or ``none``
    alone, is kept as its name."""

    general: bool = False


def _choice(value: Any) -> Any:
    if isinstance(value, str):
        return {"type": value}
    if not isinstance(value, dict):
        raise PydanticCustomError("tool_choice", "must be a string or an object")
    return value


def _old_choice(value: Any) -> Any:
    if isinstance(value, dict):
        return {"name": value["name"]} if "name" in value else {}
    if value not in ("auto", "none"):
        raise PydanticCustomError("function_call", "must be 'auto', 'none' or an object with a name")
    return {"name": value, "general": True}


ToolChoiceField = Annotated[ToolChoice, BeforeValidator(_choice, json_schema_input_type=str | ToolChoice)]
OldChoiceField = Annotated[OldChoice, BeforeValidator(_old_choice, json_schema_input_type=str | NamedTool)]
