"""Items as turns of a conversation: what a model reads."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.translate import fields
from inferloom_gateway.http.translate.responses.items import Item
from inferloom_gateway.http.translate.responses.namespaces import called

_ROLES = {
    "system": pb.ROLE_SYSTEM,
    "developer": pb.ROLE_DEVELOPER,
    "user": pb.ROLE_USER,
    "assistant": pb.ROLE_ASSISTANT,
}
_MESSAGE = re.compile(r"^chat\.messages\[(\d+)\]")
_TOOL = re.compile(r"^chat\.tools\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn, and where it came from."""

    message: pb.ChatMessage
    place: str
    """What the caller calls its first item: ``input[3]``, ``instructions`` or ``previous_response_id``."""


def turns(instructions: str | None, past: Sequence[Item], items: Sequence[Item]) -> list[Turn]:
    """The turns of a conversation.

    What the assistant thought, said and called in a row is one turn, as it was when it was generated.

    Args:
        instructions: The first turn, of the system.
        past: Items before those of the request.
        items: Those of the request.
    """
    found: list[Turn] = []
    if instructions is not None:
        said = pb.ContentPart(text=instructions)
        found.append(Turn(pb.ChatMessage(role=pb.ROLE_SYSTEM, parts=[said]), "instructions"))
    first = len(found)
    places = ["previous_response_id"] * len(past) + [f"input[{index}]" for index in range(len(items))]
    for item, place in zip((*past, *items), places, strict=True):
        role, parts = _role(item), list(_parts(item))
        if role == pb.ROLE_ASSISTANT and len(found) > first and _goes_on(found[-1].message, item):
            found[-1].message.parts.extend(parts)
        elif parts or item["type"] == "message":
            found.append(Turn(pb.ChatMessage(role=role, parts=parts), place))
    return found


def rename(turns: Sequence[Turn], tools: Sequence[str]) -> fields.Rename:
    """What the caller calls a field of the request that the turns are in; ``tools`` are the places of its."""
    general = fields.of("responses")

    def name(path: str) -> str:
        if (tool := _TOOL.match(path)) is not None and int(tool[1]) < len(tools):
            return tools[int(tool[1])] + general(path)[len(f"tools[{tool[1]}]") :]
        match = _MESSAGE.match(path)
        if match is None or int(match[1]) >= len(turns):
            return general(path)
        return turns[int(match[1])].place

    return name


def _role(item: Item) -> pb.Role.ValueType:
    match item["type"]:
        case "message":
            return _ROLES[item["role"]]
        case "function_call_output" | "custom_tool_call_output":
            return pb.ROLE_TOOL
        case _:
            return pb.ROLE_ASSISTANT


def _goes_on(turn: pb.ChatMessage, item: Item) -> bool:
    """Whether an item of the assistant belongs to the turn before it: a thought and words do unless there are
    words already, and behind a call everything does until its result, which has to follow it."""
    if turn.role != pb.ROLE_ASSISTANT:
        return False
    has = {part.WhichOneof("part") for part in turn.parts}
    match item["type"]:
        case "message" | "reasoning":
            return "tool_call" in has or has == {"reasoning"}
        case _:
            return True


def _parts(item: Item) -> Iterator[pb.ContentPart]:
    match item["type"]:
        case "message":
            for part in item["content"]:
                yield pb.ContentPart(text=part["refusal"] if part["type"] == "refusal" else part["text"])
        case "reasoning":
            if text := "".join(part["text"] for part in item.get("content") or item["summary"]):
                yield pb.ContentPart(reasoning=text)
        case "function_call":
            name = called(item.get("namespace"), item["name"])
            call = pb.ToolCall(id=item["call_id"], name=name, arguments=item["arguments"])
            yield pb.ContentPart(tool_call=call)
        case "custom_tool_call":
            name = called(item.get("namespace"), item["name"])
            call = pb.ToolCall(id=item["call_id"], name=name, arguments=item["input"], custom=True)
            yield pb.ContentPart(tool_call=call)
        case _:
            output = item["output"]
            text = output if isinstance(output, str) else "".join(part["text"] for part in output)
            yield pb.ContentPart(tool_result=pb.ToolResult(tool_call_id=item["call_id"], content=text))
