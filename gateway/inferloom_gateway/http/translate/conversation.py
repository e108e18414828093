"""OpenAI's messages and tools as the contract's conversation."""

from collections.abc import Iterator, Sequence
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.chat import Message, Tool, ToolChoice
from inferloom_gateway.http.translate.options import json_text, struct
from inferloom_mesh.errors import InferloomError, invalid, shown, unsupported

_ROLES = {
    "system": pb.ROLE_SYSTEM,
    "developer": pb.ROLE_DEVELOPER,
    "user": pb.ROLE_USER,
    "assistant": pb.ROLE_ASSISTANT,
    "tool": pb.ROLE_TOOL,
}
_MODES = {
    "auto": pb.TOOL_CHOICE_MODE_AUTO,
    "none": pb.TOOL_CHOICE_MODE_NONE,
    "required": pb.TOOL_CHOICE_MODE_REQUIRED,
}
_MEDIA = frozenset(
    {"image_url", "input_image", "input_audio", "audio_url", "video_url", "file", "input_file"}
)


def conversation(
    messages: Sequence[Message],
    tools: Sequence[Tool] | None,
    tool_choice: ToolChoice | None = None,
    *,
    add_generation_prompt: bool | None = None,
    continue_final_message: bool | None = None,
    chat_template_kwargs: dict[str, Any] | None = None,
) -> pb.ChatInput:
    """Build the contract's conversation.

    Raises:
        InferloomError: A turn holds what its role cannot, or something that is not text.
    """
    template = None
    if add_generation_prompt is not None or continue_final_message is not None or chat_template_kwargs:
        template = pb.TemplateOptions(
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            variables=struct("chat_template_kwargs", chat_template_kwargs),
        )
    return pb.ChatInput(
        messages=[_message(index, message) for index, message in enumerate(messages)],
        tools=[_tool(index, tool) for index, tool in enumerate(tools or ())],
        tool_choice=None if tool_choice is None else _tool_choice(tool_choice),
        template=template,
    )


def _message(index: int, message: Message) -> pb.ChatMessage:
    where = f"messages[{index}]"
    if message.role == "tool":
        if not message.tool_call_id:
            raise _missing(f"{where}.tool_call_id")
        content = "".join(_texts(where, message))
        result = pb.ToolResult(tool_call_id=message.tool_call_id, content=content)
        parts = [pb.ContentPart(tool_result=result)]
    else:
        parts = [pb.ContentPart(text=text) for text in _texts(where, message)]
    if message.role == "assistant":
        if message.reasoning_content:
            parts.insert(0, pb.ContentPart(reasoning=message.reasoning_content))
        for call in message.tool_calls or ():
            function = call.function
            made = pb.ToolCall(id=call.id, name=function.name, arguments=function.arguments)
            parts.append(pb.ContentPart(tool_call=made))
        if message.content is None and not message.tool_calls:
            raise _missing(f"{where}.content")
    elif message.content is None:
        raise _missing(f"{where}.content")
    elif message.tool_calls:
        raise invalid(f"{where}.tool_calls", "Only a turn of the assistant can have tool_calls.")
    return pb.ChatMessage(role=_ROLES[message.role], parts=parts, name=message.name or "")


def _texts(where: str, message: Message) -> Iterator[str]:
    for index, part in enumerate(message.content or ()):
        path = f"{where}.content[{index}]"
        if part.type in _MEDIA:
            raise unsupported(path, f"Content of type '{shown(part.type)}' is not supported.")
        if part.type not in ("text", "refusal"):
            raise invalid(f"{path}.type", f"'{shown(part.type)}' is not a type of content.")
        text = part.text if part.type == "text" else part.refusal
        if text is None:
            raise _missing(f"{path}.{part.type}")
        yield text


def _missing(param: str) -> InferloomError:
    return invalid(param, f"Missing required parameter: '{param}'.")


def _tool(index: int, tool: Tool) -> pb.Tool:
    function = tool.function
    return pb.Tool(
        name=function.name,
        description=function.description or "",
        parameters_json_schema=json_text(f"tools[{index}].function.parameters", function.parameters),
        strict=function.strict,
    )


def _tool_choice(choice: ToolChoice) -> pb.ToolChoice:
    if choice.type != "function":
        return pb.ToolChoice(mode=_MODES[choice.type])
    if choice.function is None:
        raise _missing("tool_choice.function")
    return pb.ToolChoice(function_name=choice.function.name)
