"""The contract's conversation in the form that chat templates read."""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from google.protobuf.struct_pb2 import Value

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import invalid
from inferloom_worker.text.halves import without_halves
from inferloom_worker.text.tool_traits import ToolTraits

_ROLES = {
    pb.ROLE_SYSTEM: "system",
    pb.ROLE_DEVELOPER: "developer",
    pb.ROLE_USER: "user",
    pb.ROLE_ASSISTANT: "assistant",
    pb.ROLE_TOOL: "tool",
}

NO_OBJECT = "arguments"
"""The name that what is no object has in the one that a template needs: the call stays in the conversation,
which a client sends again with every turn."""


def template_messages(
    chat: pb.ChatInput,
    *,
    knows_developer: bool,
    traits: ToolTraits | None = None,
    call_id: Callable[[str], str] = str,
) -> list[dict[str, Any]]:
    """The turns of a validated conversation, oldest first; several tool results become several turns.

    Args:
        chat: The conversation.
        knows_developer: Whether the developer's turns stay the developer's.
        traits: How the template wants calls. None: arguments as objects, content as text.
        call_id: What the template is told for a call's id.
    """
    turns = _Turns(knows_developer, traits or ToolTraits(), call_id)
    return [turn for message in chat.messages for turn in turns.of(message)]


class _Turns:
    def __init__(self, knows_developer: bool, traits: ToolTraits, call_id: Callable[[str], str]) -> None:
        self._knows_developer = knows_developer
        self._traits = traits
        self._call_id = call_id
        self._called: dict[str, str] = {}
        """Names of functions by the ids of their calls."""

    def of(self, message: pb.ChatMessage) -> Iterator[dict[str, Any]]:
        """The turns of one message."""
        role = _ROLES[message.role]
        if role == "developer" and not self._knows_developer:
            role = "system"
        parts: dict[str, list[pb.ContentPart]] = {kind: [] for kind in _KINDS}
        for part in message.parts:
            kind = part.WhichOneof("part")
            if kind in parts:
                parts[kind].append(part)
        for part in parts["tool_result"]:
            yield self._result(role, part.tool_result, message)
        if parts["tool_result"] and not parts["text"]:
            return
        turn = {"role": role, "content": "".join(part.text for part in parts["text"])} | _named(message)
        if parts["reasoning"]:
            turn["reasoning_content"] = "".join(part.reasoning for part in parts["reasoning"])
        if parts["tool_call"]:
            turn["tool_calls"] = [self._call(part.tool_call) for part in parts["tool_call"]]
            if self._traits.null_content and not turn["content"]:
                turn["content"] = None
        yield turn

    def _result(self, role: str, result: pb.ToolResult, message: pb.ChatMessage) -> dict[str, Any]:
        name = message.name or self._called.get(result.tool_call_id, "")
        turn = {"role": role, "tool_call_id": self._call_id(result.tool_call_id), "content": result.content}
        return turn | ({"name": name} if name else {})

    def _call(self, call: pb.ToolCall) -> dict[str, Any]:
        self._called[call.id] = call.name
        made: dict[str, Any] = {"id": self._call_id(call.id)}
        if call.custom:
            return made | {"type": "custom", "custom": {"name": call.name, "input": call.arguments}}
        arguments = self._arguments(call.arguments or "{}")
        return made | {"type": "function", "function": {"name": call.name, "arguments": arguments}}

    def _arguments(self, written: str) -> Any:
        """A call's arguments as the template wants them; the model may have written what is no object."""
        if self._traits.text_arguments:
            return written
        try:
            parsed = json.loads(without_halves(written))
        except (ValueError, RecursionError):
            parsed = None
        if isinstance(parsed, dict):
            return parsed
        return {NO_OBJECT: written} if self._traits.needs_object else written


_KINDS = ("text", "tool_call", "tool_result", "reasoning")


def _named(message: pb.ChatMessage) -> dict[str, Any]:
    return {"name": message.name} if message.name else {}


def template_tools(tools: Iterable[pb.Tool]) -> list[dict[str, Any]]:
    """Validated functions, as JSON Schema in OpenAI's envelope; tools that take free text in theirs."""
    return [_custom(tool) if tool.HasField("custom") else _function(tool) for tool in tools]


def _function(tool: pb.Tool) -> dict[str, Any]:
    parameters = json.loads(without_halves(tool.parameters_json_schema or "{}"))
    # Templates look for both.
    parameters = {"type": "object", "properties": {}} | parameters
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def _custom(tool: pb.Tool) -> dict[str, Any]:
    custom: dict[str, Any] = {"name": tool.name, "description": tool.description}
    kind = tool.custom.WhichOneof("format")
    if kind is not None:
        custom["grammar"] = getattr(tool.custom, kind)
    return {"type": "custom", "custom": custom}


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
