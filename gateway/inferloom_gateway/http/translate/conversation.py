"""OpenAI's messages and tools as the contract's conversation."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
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
    "function": pb.ROLE_TOOL,
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
    functions = _FunctionCalls()
    return pb.ChatInput(
        messages=[_message(index, message, functions) for index, message in enumerate(messages)],
        tools=[_tool(index, tool) for index, tool in enumerate(tools or ())],
        tool_choice=None if tool_choice is None else _tool_choice(tool_choice),
        template=template,
    )


class _FunctionCalls:
    """Gives calls of functions, which had no ids before there were tools, the ids that tool calls have.

    An id has nine letters and digits, which every template accepts, and is the same whenever the same
    conversation is sent.
    """

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def call(self, index: int, name: str) -> str:
        """The id of the call in the turn ``index``."""
        made = self._last[name] = blake2b(f"{index}/{name}".encode(), digest_size=8).hexdigest()[:9]
        return made

    def result(self, index: int, name: str) -> str:
        """The id of the call whose result the turn ``index`` is: of this function's last one."""
        return self._last.get(name) or self.call(index, name)


def _message(index: int, message: Message, functions: _FunctionCalls) -> pb.ChatMessage:
    where = f"messages[{index}]"
    match message.role:
        case "assistant":
            parts = list(_assistant(index, message, functions))
            if not parts and message.content is None:
                raise _no_content(where, message)
        case "tool":
            if not message.tool_call_id:
                raise _missing(f"{where}.tool_call_id")
            if message.content is None:
                raise _no_content(where, message)
            parts = [_result(where, message, message.tool_call_id)]
        case "function":
            if not message.name:
                raise _missing(f"{where}.name")
            parts = [_result(where, message, functions.result(index, message.name))]
        case _:
            if message.content is None:
                raise _no_content(where, message)
            parts = [pb.ContentPart(text=text) for text in _texts(where, message)]
    for field in ("tool_calls", "function_call"):
        if getattr(message, field) and message.role != "assistant":
            raise invalid(f"{where}.{field}", f"Only a turn of the assistant can have {field}.")
    return pb.ChatMessage(role=_ROLES[message.role], parts=parts, name=message.name or "")


def _assistant(index: int, message: Message, functions: _FunctionCalls) -> Iterator[pb.ContentPart]:
    if message.reasoning_content:
        yield pb.ContentPart(reasoning=message.reasoning_content)
    for text in _texts(f"messages[{index}]", message):
        yield pb.ContentPart(text=text)
    if message.refusal:
        yield pb.ContentPart(text=message.refusal)
    for call in message.tool_calls or ():
        made = pb.ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
        yield pb.ContentPart(tool_call=made)
    if (older := message.function_call) is not None:
        made = pb.ToolCall(id=functions.call(index, older.name), name=older.name, arguments=older.arguments)
        yield pb.ContentPart(tool_call=made)


def _result(where: str, message: Message, call_id: str) -> pb.ContentPart:
    result = pb.ToolResult(tool_call_id=call_id, content="".join(_texts(where, message)))
    return pb.ContentPart(tool_result=result)


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


def _no_content(where: str, message: Message) -> InferloomError:
    param = f"{where}.content"
    if "content" not in message.model_fields_set:
        return _missing(param)
    rest = "unless there is a refusal or a call" if message.role == "assistant" else "not null"
    return invalid(param, f"Invalid '{param}': must be a string or an array of content parts, {rest}.")


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
