"""The body of POST /v1/chat/completions."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from inferloom_gateway.http.schema.base import Metadata, Part, Positive, text_parts
from inferloom_gateway.http.schema.constraints import ConstrainedParameters
from inferloom_gateway.http.schema.prediction import Prediction
from inferloom_gateway.http.schema.tools import OldChoiceField, OldFunction, Tool, ToolChoiceField


class ContentPart(Part):
    """One part of a message; which fields it has depends on its type."""

    type: str
    text: str | None = None
    refusal: str | None = None


class Thought(Part):
    """A piece of what was thought."""

    type: Literal["text"] | None = None
    text: str


def _thinking(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    if not all(isinstance(piece, dict) and isinstance(piece.get("text"), str) for piece in value):
        raise PydanticCustomError("thinking", "must be a string or an array of texts")
    return "".join(piece["text"] for piece in value)


class MessagePart(ContentPart):
    """One part of a chat's message, which may be what the assistant thought: a text, or its pieces."""

    thinking: Annotated[
        str | None, BeforeValidator(_thinking, json_schema_input_type=str | list[Thought] | None)
    ] = None


Content = Annotated[
    list[MessagePart], BeforeValidator(text_parts, json_schema_input_type=str | list[MessagePart])
]


class CalledFunction(Part):
    """A function that the assistant called."""

    name: str
    arguments: str


class CalledCustom(Part):
    """A custom tool that the assistant called."""

    name: str
    input: str


class ToolCall(Part):
    """One call that the assistant made."""

    id: str
    type: Literal["function", "custom"] = "function"
    function: CalledFunction | None = None
    custom: CalledCustom | None = None


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
    reasoning: str | None = None
    """Another name for reasoning_content."""

    def thoughts(self) -> str:
        """What the assistant thought: as the message says it, else as its parts do."""
        parts = "".join(part.thinking or "" for part in self.content or () if part.type == "thinking")
        return self.reasoning_content or self.reasoning or parts


class ChatCompletionRequest(ConstrainedParameters):
    """A conversation to continue."""

    endpoint = "chat"

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Positive | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoiceField | None = None
    parallel_tool_calls: bool | None = None
    functions: list[OldFunction] | None = None
    """What tools were once."""
    function_call: OldChoiceField | None = None
    """What tool_choice was once."""
    reasoning_effort: str | None = None
    verbosity: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    prediction: Prediction | None = None
    store: bool | None = None
    metadata: Metadata | None = None
