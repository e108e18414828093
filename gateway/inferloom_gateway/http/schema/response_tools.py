"""The tools of a response, and which of them it may or must use."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from inferloom_gateway.http.schema.base import Part
from inferloom_gateway.http.schema.tools import ToolName
from inferloom_mesh.errors import shown, unsupported

KINDS = frozenset({"function", "custom", "namespace"})
_CALLED = KINDS - {"namespace"}
"""Types of tools that a model calls."""
_CHOICES = frozenset({"auto", "none", "required", "function", "custom", "allowed_tools"})


class InputFormat(Part):
    """What the input of a custom tool must be: any text, or what a grammar derives."""

    type: Literal["text", "grammar"]
    syntax: Literal["lark", "regex"] | None = None
    definition: str | None = None


class _Described(Part):
    """What every tool may have."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: InputFormat | None = None


class CalledTool(_Described):
    """A function, whose arguments are JSON, or a custom tool, whose input is text."""

    type: Literal["function", "custom"]


class ResponseTool(_Described):
    """The same, or a namespace: tools that its name and description belong to."""

    type: Literal["function", "custom", "namespace"]
    tools: Annotated[list[CalledTool], Field(min_length=1)] | None = None


class NamedTool(Part):
    """The name of a tool."""

    type: Literal["function", "custom"]
    name: str


class ResponseToolChoice(Part):
    """Whether, or which tool, the model must call; a general rule may stand as a string alone."""

    type: Literal["auto", "none", "required", "function", "custom", "allowed_tools"]
    name: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[NamedTool] | None = None


def _tools(value: Any) -> Any:
    """The tools as they are. Raises InferloomError for one that OpenAI would run itself."""
    _check_kinds("tools", value, KINDS)
    for index, tool in enumerate(value if isinstance(value, list) else ()):
        if isinstance(tool, dict):
            _check_kinds(f"tools[{index}].tools", tool.get("tools"), _CALLED)
    return value


def _check_kinds(where: str, tools: Any, known: frozenset[str]) -> None:
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if isinstance(kind, str) and kind not in known:
            raise unsupported(f"{where}[{index}]", f"Tools of type '{shown(kind)}' are not supported.")


def _choice(value: Any) -> Any:
    if isinstance(value, str):
        return {"type": value}
    if not isinstance(value, dict):
        raise PydanticCustomError("tool_choice", "must be a string or an object")
    kind = value.get("type")
    if isinstance(kind, str) and kind not in _CHOICES:
        raise unsupported("tool_choice", f"Tools of type '{shown(kind)}' are not supported.")
    _check_kinds("tool_choice.tools", value.get("tools"), _CALLED)
    return value


ResponseTools = Annotated[list[ResponseTool], BeforeValidator(_tools)]
ResponseChoice = Annotated[
    ResponseToolChoice, BeforeValidator(_choice, json_schema_input_type=str | ResponseToolChoice)
]
