"""The contract's conversation in the form that chat templates read."""

import json
import math
from collections.abc import Iterator
from typing import Any

from google.protobuf.struct_pb2 import Value

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import invalid

_ROLES = {
    pb.ROLE_SYSTEM: "system",
    pb.ROLE_DEVELOPER: "developer",
    pb.ROLE_USER: "user",
    pb.ROLE_ASSISTANT: "assistant",
    pb.ROLE_TOOL: "tool",
}


def template_messages(chat: pb.ChatInput, *, knows_developer: bool) -> list[dict[str, Any]]:
    """The turns of a validated conversation, oldest first; several tool results become several turns."""
    return [turn for message in chat.messages for turn in _turns(message, knows_developer)]


def _turns(message: pb.ChatMessage, knows_developer: bool) -> Iterator[dict[str, Any]]:
    role = _ROLES[message.role]
    if role == "developer" and not knows_developer:
        role = "system"
    parts = {kind: [p for p in message.parts if p.WhichOneof("part") == kind] for kind in _KINDS}
    for part in parts["tool_result"]:
        result = part.tool_result
        yield {"role": role, "tool_call_id": result.tool_call_id, "content": result.content} | _named(message)
    if parts["tool_result"] and not parts["text"]:
        return
    turn = {"role": role, "content": "".join(part.text for part in parts["text"])} | _named(message)
    if parts["reasoning"]:
        turn["reasoning_content"] = "".join(part.reasoning for part in parts["reasoning"])
    if parts["tool_call"]:
        turn["tool_calls"] = [_call(part.tool_call) for part in parts["tool_call"]]
    yield turn


_KINDS = ("text", "tool_call", "tool_result", "reasoning")


def _named(message: pb.ChatMessage) -> dict[str, Any]:
    return {"name": message.name} if message.name else {}


def _call(call: pb.ToolCall) -> dict[str, Any]:
    arguments: Any = call.arguments
    try:
        # Templates expect an object; what the model wrote may be none.
        parsed = json.loads(call.arguments) if call.arguments else {}
        arguments = parsed if isinstance(parsed, dict) else arguments
    except (ValueError, RecursionError):
        pass
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def template_tools(chat: pb.ChatInput) -> list[dict[str, Any]]:
    """The functions of a validated conversation, as JSON Schema in OpenAI's envelope."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": json.loads(
                    tool.parameters_json_schema or '{"type": "object", "properties": {}}'
                ),
            },
        }
        for tool in chat.tools
    ]


def template_variables(chat: pb.ChatInput) -> dict[str, Any]:
    """The further variables of a conversation; whole numbers as integers.

    Raises:
        InferloomError: INVALID_ARGUMENT for a number that is not finite.
    """
    return {name: _plain(value) for name, value in chat.template.variables.fields.items()}


def _plain(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return {name: _plain(item) for name, item in value.struct_value.fields.items()}
        case "list_value":
            return [_plain(item) for item in value.list_value.values]
        case "number_value":
            number = value.number_value
            if not math.isfinite(number):
                raise invalid(
                    "chat.template.variables", "chat.template.variables holds a number that is not finite."
                )
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case _:
            return None
