"""The contract's conversations as OpenAI's JSON. Pure."""

import json
from collections.abc import Iterator
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import unsupported

_ROLES = {
    pb.ROLE_SYSTEM: "system",
    pb.ROLE_DEVELOPER: "system",  # not every server knows the newer word
    pb.ROLE_USER: "user",
    pb.ROLE_ASSISTANT: "assistant",
    pb.ROLE_TOOL: "tool",
}

_MODES = {
    pb.TOOL_CHOICE_MODE_AUTO: "auto",
    pb.TOOL_CHOICE_MODE_NONE: "none",
    pb.TOOL_CHOICE_MODE_REQUIRED: "required",
}


def messages(chat: pb.ChatInput, reasoning: str) -> list[dict[str, Any]]:
    """The turns of a validated conversation; ``reasoning`` is what reasoning in them is called."""
    return [turn for message in chat.messages for turn in _turns(message, reasoning)]


def _turns(message: pb.ChatMessage, reasoning: str) -> Iterator[dict[str, Any]]:
    named = {"name": message.name} if message.name else {}
    text, thought, calls, results = "", "", list[dict[str, Any]](), 0
    for part in message.parts:
        match part.WhichOneof("part"):
            case "tool_result":
                results += 1
                of = part.tool_result
                yield {"role": "tool", "tool_call_id": of.tool_call_id, "content": of.content, **named}
            case "tool_call":
                calls.append(_call(part.tool_call))
            case "reasoning":
                thought += part.reasoning
            case _:
                text += part.text
    if results and not text:
        return
    turn: dict[str, Any] = {"role": _ROLES[message.role], "content": text, **named}
    if thought:
        turn[reasoning] = thought
    if calls:
        turn["tool_calls"] = calls
        turn["content"] = text or None
    yield turn


def _call(call: pb.ToolCall) -> dict[str, Any]:
    if call.custom:
        raise unsupported("chat.messages", "The model's server knows no calls with free text.")
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments or "{}"},
    }


def tools(chat: pb.ChatInput) -> list[dict[str, Any]]:
    """The functions that may be called. Where only some of them may, the others are not mentioned.

    Raises:
        InferloomError: UNSUPPORTED_PARAMETER for a tool that takes free text.
    """
    allowed = frozenset(chat.tool_choice.allowed_names)
    return [
        _tool(index, tool) for index, tool in enumerate(chat.tools) if not allowed or tool.name in allowed
    ]


def _tool(index: int, tool: pb.Tool) -> dict[str, Any]:
    if tool.HasField("custom"):
        raise unsupported(
            f"chat.tools[{index}].custom", "The model's server knows no tools that take free text."
        )
    nothing = {"type": "object", "properties": {}}
    schema = tool.parameters_json_schema
    function: dict[str, Any] = {"name": tool.name, "parameters": json.loads(schema) if schema else nothing}
    if tool.description:
        function["description"] = tool.description
    if tool.HasField("strict"):
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def tool_choice(chat: pb.ChatInput) -> str | dict[str, Any] | None:
    """Whether they must be called. None: nothing is said."""
    if not chat.HasField("tool_choice"):
        return None
    if chat.tool_choice.WhichOneof("choice") == "function_name":
        return {"type": "function", "function": {"name": chat.tool_choice.function_name}}
    return _MODES[chat.tool_choice.mode]


def variables(struct: Struct) -> dict[str, Any]:
    """Template variables; whole numbers are whole again."""
    found: dict[str, Any] = _whole(MessageToDict(struct))
    return found


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value
