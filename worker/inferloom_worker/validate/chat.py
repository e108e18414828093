"""Conversations."""

import json
import re
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, invalid, shown
from inferloom_mesh.named_fields import named
from inferloom_mesh.tool_name import LONGEST_TOOL_NAME, TOOL_NAME
from inferloom_worker.text.template import RESERVED

_ROLES = frozenset(pb.Role.values()) - {pb.ROLE_UNSPECIFIED}
_MODES = frozenset(pb.ToolChoiceMode.values()) - {pb.TOOL_CHOICE_MODE_UNSPECIFIED}
_TOOL_NAME = re.compile(TOOL_NAME)

MOST_CHARACTERS = 2**18
"""Of one tool's schema or grammar."""

DEEPEST = 64
"""Levels of a schema."""


def check_chat(chat: pb.ChatInput) -> None:
    """Refuse a conversation that the contract does not allow.

    Raises:
        InferloomError: INVALID_ARGUMENT, at the field.
    """
    if not chat.messages:
        raise invalid("chat.messages", "chat.messages must hold at least one message.")
    for index, message in enumerate(chat.messages):
        _check_message(f"chat.messages[{index}]", message)
    for index, tool in enumerate(chat.tools):
        _check_tool(f"chat.tools[{index}]", tool)
    _check_choice(chat)
    if chat.HasField("template"):
        _check_template(chat.template)


def _check_message(param: str, message: pb.ChatMessage) -> None:
    if message.role not in _ROLES:
        raise invalid(f"{param}.role", f"{param}.role must be one of the roles.")
    if not message.parts and message.role != pb.ROLE_ASSISTANT:
        raise invalid(f"{param}.parts", f"{param}.parts must hold at least one part.")
    for index, part in enumerate(message.parts):
        kind = part.WhichOneof("part")
        if kind == "text":
            continue
        where = f"{param}.parts[{index}]"
        if kind is None:
            raise invalid(where, f"{where} holds nothing.")
        if kind in ("tool_call", "reasoning") and message.role != pb.ROLE_ASSISTANT:
            raise invalid(where, f"{where} can only be in a turn of the assistant.")
        if kind == "tool_result" and message.role != pb.ROLE_TOOL:
            raise invalid(where, f"{where} can only be in a turn of a tool.")


def _check_tool(param: str, tool: pb.Tool) -> None:
    if not _TOOL_NAME.fullmatch(tool.name):
        words = f"must be 1 to {LONGEST_TOOL_NAME} letters, digits, '_' and '-'."
        raise invalid(f"{param}.name", f"{param}.name {words}")
    schema = tool.parameters_json_schema
    where = f"{param}.parameters_json_schema"
    if tool.HasField("custom"):
        if schema:
            raise invalid(where, f"{where} is for tools that take no free text.")
        kind = tool.custom.WhichOneof("format")
        if kind is not None and not 0 < len(getattr(tool.custom, kind)) <= MOST_CHARACTERS:
            raise invalid(
                f"{param}.custom.{kind}",
                f"{param}.custom.{kind} must have 1 to {MOST_CHARACTERS} characters.",
            )
        return
    if len(schema) > MOST_CHARACTERS:
        raise invalid(where, f"{where} can have at most {MOST_CHARACTERS} characters, not {len(schema)}.")
    if not schema:
        return
    try:
        parsed = json.loads(schema, parse_constant=_no_number)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise invalid(where, f"{where} must be a JSON object.")
    if _deeper(parsed, DEEPEST):
        raise invalid(where, f"{where} is nested more than {DEEPEST} levels deep.")


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _deeper(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
    return any(isinstance(item, (dict, list)) for item in level)


def _check_choice(chat: pb.ChatInput) -> None:
    if not chat.HasField("tool_choice"):
        return
    choice = chat.tool_choice
    kind = choice.WhichOneof("choice")
    if kind is None or (kind == "mode" and choice.mode not in _MODES):
        choices = named("chat.tool_choice")
        raise invalid("chat.tool_choice.mode", f"{choices} must be one of the modes, or name a function.")
    names = {tool.name for tool in chat.tools}
    if kind == "function_name" and choice.function_name not in names:
        raise _unknown("chat.tool_choice.function_name", choice.function_name)
    if kind == "function_name" and choice.allowed_names:
        one, some = "chat.tool_choice.function_name", "chat.tool_choice.allowed_names"
        raise invalid(some, f"{named(one)} and {named(some)} exclude each other.")
    for index, name in enumerate(choice.allowed_names):
        if name not in names:
            raise _unknown(f"chat.tool_choice.allowed_names[{index}]", name)
    if choice.mode == pb.TOOL_CHOICE_MODE_REQUIRED and not names:
        words = f"{named('chat.tool_choice')} needs {named('chat.tools')}, one of which can be called."
        raise invalid("chat.tool_choice.mode", words)


def _unknown(param: str, name: str) -> InferloomError:
    return invalid(param, f"{param} names '{shown(name)}', which is not among {named('chat.tools')}.")


def _check_template(template: pb.TemplateOptions) -> None:
    if template.add_generation_prompt and template.continue_final_message:
        one, other = "chat.template.add_generation_prompt", "chat.template.continue_final_message"
        raise invalid(one, f"{one} and {named(other)} exclude each other.")
    for name in template.variables.fields:
        if name in RESERVED or not name.isidentifier():
            raise invalid("chat.template.variables", f"A template variable cannot be named {name[:64]!r}.")
