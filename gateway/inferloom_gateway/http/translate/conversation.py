"""OpenAI's messages and tools as the contract's conversation."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b

from google.protobuf.struct_pb2 import Struct

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.chat import Message, ToolCall
from inferloom_gateway.http.translate.tools import missing
from inferloom_mesh.errors import InferloomError, invalid, shown, unsupported

_ROLES = {
    "system": pb.ROLE_SYSTEM,
    "developer": pb.ROLE_DEVELOPER,
    "user": pb.ROLE_USER,
    "assistant": pb.ROLE_ASSISTANT,
    "tool": pb.ROLE_TOOL,
    "function": pb.ROLE_TOOL,
}
_OF_ROLES = {
    **dict.fromkeys(
        ("tool_calls", "function_call", "refusal", "reasoning_content", "reasoning"), "assistant"
    ),
    "tool_call_id": "tool",
}
"""Fields that only turns of one role have."""
_OF = {"assistant": "the assistant", "tool": "a tool"}
_TEXTS = frozenset({"text", "input_text", "output_text"})
"""Types of parts that are text: a chat's own, and those that turns of a response have."""
_MEDIA = frozenset(
    {"image_url", "input_image", "input_audio", "audio_url", "video_url", "file", "input_file"}
)


def conversation(
    messages: Sequence[Message],
    tools: Sequence[pb.Tool],
    tool_choice: pb.ToolChoice | None = None,
    *,
    parallel_tool_calls: bool | None = None,
    add_generation_prompt: bool | None = None,
    continue_final_message: bool | None = None,
    variables: Struct | None = None,
) -> pb.ChatInput:
    """Build the contract's conversation; ``variables`` are the template's.

    Raises:
        InferloomError: A turn holds what its role cannot, or something that is not text.
    """
    chat = pb.ChatInput(tool_choice=tool_choice, parallel_tool_calls=parallel_tool_calls)
    functions = _FunctionCalls()
    for index, message in enumerate(messages):
        _message(index, message, functions, chat.messages.add())  # made in its place: copies cost more
    chat.tools.extend(tools)
    if add_generation_prompt is not None or continue_final_message is not None or variables is not None:
        template = pb.TemplateOptions(
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            variables=variables,
        )
        chat.template.CopyFrom(template)
    return chat


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


def _message(index: int, message: Message, functions: _FunctionCalls, made: pb.ChatMessage) -> None:
    """Make the contract's message in its place."""
    where = f"messages[{index}]"
    made.role = _ROLES[message.role]
    if message.name:
        made.name = message.name
    match message.role:
        case "assistant":
            made.parts.extend(_assistant(index, message, functions))
            if not made.parts:
                if "content" not in message.model_fields_set:
                    raise missing(f"{where}.content")
                made.parts.add(text="")  # a turn in which nothing was said
        case "tool":
            if not message.tool_call_id:
                raise missing(f"{where}.tool_call_id")
            if message.content is None:
                raise _no_content(where, message)
            made.parts.append(_result(where, message, message.tool_call_id))
        case "function":
            if not message.name:
                raise missing(f"{where}.name")
            made.parts.append(_result(where, message, functions.result(index, message.name)))
        case _:
            if message.content is None:
                raise _no_content(where, message)
            for text in _texts(where, message):
                made.parts.add(text=text)
    for field in sorted(message.model_fields_set & _OF_ROLES.keys()):
        if message.role != (role := _OF_ROLES[field]) and getattr(message, field):
            raise invalid(f"{where}.{field}", f"Only a turn of {_OF[role]} can have {field}.")


def _assistant(index: int, message: Message, functions: _FunctionCalls) -> Iterator[pb.ContentPart]:
    if reasoning := message.thoughts():
        yield pb.ContentPart(reasoning=reasoning)
    for text in _texts(f"messages[{index}]", message):
        yield pb.ContentPart(text=text)
    if message.refusal:
        yield pb.ContentPart(text=message.refusal)
    for place, call in enumerate(message.tool_calls or ()):
        yield pb.ContentPart(tool_call=_call(f"messages[{index}].tool_calls[{place}]", call))
    if (older := message.function_call) is not None:
        made = pb.ToolCall(id=functions.call(index, older.name), name=older.name, arguments=older.arguments)
        yield pb.ContentPart(tool_call=made)


def _call(where: str, call: ToolCall) -> pb.ToolCall:
    if call.type == "custom":
        if call.custom is None:
            raise missing(f"{where}.custom")
        return pb.ToolCall(id=call.id, name=call.custom.name, arguments=call.custom.input, custom=True)
    if call.function is None:
        raise missing(f"{where}.function")
    return pb.ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)


def _result(where: str, message: Message, call_id: str) -> pb.ContentPart:
    result = pb.ToolResult(tool_call_id=call_id, content="".join(_texts(where, message)))
    return pb.ContentPart(tool_result=result)


def _texts(where: str, message: Message) -> Iterator[str]:
    for index, part in enumerate(message.content or ()):
        if part.type == "thinking" and part.thinking is not None and message.role == "assistant":
            continue
        text = part.text if part.type in _TEXTS else part.refusal if part.type == "refusal" else None
        if text is None:
            raise _no_text(f"{where}.content[{index}]", part.type, message.role)
        yield text


def _no_text(path: str, kind: str, role: str) -> InferloomError:
    """What is wrong with a part of a message that has no text."""
    if kind in _MEDIA:
        return unsupported(path, f"Content of type '{shown(kind)}' is not supported.")
    if kind == "thinking" and role != "assistant":
        return invalid(f"{path}.type", "Only a turn of the assistant can have parts that were thought.")
    if kind in _TEXTS:
        return missing(f"{path}.text")
    if kind not in ("refusal", "thinking"):
        return invalid(f"{path}.type", f"'{shown(kind)}' is not a type of content.")
    return missing(f"{path}.{kind}")


def _no_content(where: str, message: Message) -> InferloomError:
    param = f"{where}.content"
    if "content" not in message.model_fields_set:
        return missing(param)
    return invalid(param, f"Invalid '{param}': must be a string or an array of content parts, not null.")
