"""Conversations."""

import json
import re

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import invalid
from inferloom_worker.text.template import RESERVED

_ROLES = frozenset(pb.Role.values()) - {pb.ROLE_UNSPECIFIED}
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


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
    _check_template(chat.template)


def _check_message(param: str, message: pb.ChatMessage) -> None:
    if message.role not in _ROLES:
        raise invalid(f"{param}.role", f"{param}.role must be one of the roles.")
    if not message.parts and message.role != pb.ROLE_ASSISTANT:
        raise invalid(f"{param}.parts", f"{param}.parts must hold at least one part.")
    for index, part in enumerate(message.parts):
        kind = part.WhichOneof("part")
        where = f"{param}.parts[{index}]"
        if kind is None:
            raise invalid(where, f"{where} holds nothing.")
        if kind in ("tool_call", "reasoning") and message.role != pb.ROLE_ASSISTANT:
            raise invalid(where, f"{where} can only be in a turn of the assistant.")
        if kind == "tool_result" and message.role != pb.ROLE_TOOL:
            raise invalid(where, f"{where} can only be in a turn of a tool.")


def _check_tool(param: str, tool: pb.Tool) -> None:
    if not _TOOL_NAME.fullmatch(tool.name):
        raise invalid(f"{param}.name", f"{param}.name must be 1 to 64 letters, digits, '_' and '-'.")
    schema = tool.parameters_json_schema
    if not schema:
        return
    try:
        is_object = isinstance(json.loads(schema), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        where = f"{param}.parameters_json_schema"
        raise invalid(where, f"{where} must be a JSON object.")


def _check_template(template: pb.TemplateOptions) -> None:
    if template.add_generation_prompt and template.continue_final_message:
        raise invalid(
            "chat.template.add_generation_prompt",
            "chat.template.add_generation_prompt and continue_final_message exclude each other.",
        )
    for name in template.variables.fields:
        if name in RESERVED or not name.isidentifier():
            raise invalid("chat.template.variables", f"A template variable cannot be named {name[:64]!r}.")
