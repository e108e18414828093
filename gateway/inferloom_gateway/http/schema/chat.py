"""The body of POST /v1/chat/completions."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from inferloom_gateway.http.schema.base import Metadata, Part, Positive
from inferloom_gateway.http.schema.constraints import ConstrainedParameters


class ContentPart(Part):
    """One part of a message; which fields it has depends on its type."""

    type: str
    text: str | None = None
    refusal: str | None = None


def _parts(value: Any) -> Any:
    if isinstance(value, str):
        return [{"type": "text", "text": value}]
    if not isinstance(value, list):
        raise PydanticCustomError("content", "must be a string or an array of content parts")
    return value


Content = Annotated[
    list[ContentPart], BeforeValidator(_parts, json_schema_input_type=str | list[ContentPart])
]


class CalledFunction(Part):
    """A function that the assistant called."""

    name: str
    arguments: str


class ToolCall(Part):
    """One call that the assistant made."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Part):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Content | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: CalledFunction | None = None
    """What tool_calls was before a turn could have several."""
    refusal: str | None = None
    reasoning_content: str | None = None


class Function(Part):
    """A function that the model may call."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Part):
    """A tool that the model may call."""

    type: Literal["function"]
    function: Function


class NamedFunction(Part):
    """The name of a function."""

    name: str


class ToolChoice(Part):
    """Whether, or which function, the model must call; a general rule may stand as a string alone."""

    type: Literal["auto", "none", "required", "function"]
    function: NamedFunction | None = None


def _choice(value: Any) -> Any:
    if isinstance(value, str):
        return {"type": value}
    if not isinstance(value, dict):
        raise PydanticCustomError("tool_choice", "must be a string or an object")
    return value


_CHOICE = BeforeValidator(_choice, json_schema_input_type=str | ToolChoice)


class ChatCompletionRequest(ConstrainedParameters):
    """A conversation to continue."""

    endpoint = "chat"

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Positive | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: list[Tool] | None = None
    tool_choice: Annotated[ToolChoice, _CHOICE] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    store: bool | None = None
    metadata: Metadata | None = None
