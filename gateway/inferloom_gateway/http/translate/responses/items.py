"""Items of an input in the form that is kept: the one in which ``/input_items`` gives them back."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from inferloom_gateway.http.schema.chat import ContentPart
from inferloom_gateway.http.schema.response_items import InputItem
from inferloom_gateway.http.translate.responses.names import Names
from inferloom_mesh.errors import InferloomError, Reason, invalid, shown, unsupported

Item = dict[str, Any]
"""An item as JSON, with its ``type`` and ``id``."""

Unseal = Callable[[str], str | None]
"""The reasoning in an ``encrypted_content``; None: it is not of our making."""

_MEDIA = frozenset(
    {"input_image", "input_file", "input_audio", "image_url", "file", "audio_url", "video_url"}
)
_TEXTS = frozenset({"input_text", "output_text", "text"})


def kind_of(item: InputItem) -> str:
    """An item's type, also of one that leaves it out."""
    if item.type is not None:
        return item.type
    return "item_reference" if item.role is None and item.content is None and item.id else "message"


def references(items: Iterable[InputItem]) -> Iterator[tuple[int, str]]:
    """The places and names of the items that are only referred to."""
    for index, item in enumerate(items):
        if kind_of(item) == "item_reference":
            if item.id is None:
                raise _missing(f"input[{index}].id")
            yield index, item.id


def kept(
    items: Sequence[InputItem],
    names: Names,
    unseal: Unseal,
    referred: Mapping[str, Item],
    taken: Iterable[str],
) -> list[Item]:
    """The items as they are kept, each with a name of its own.

    Args:
        items: What was sent.
        names: Names those that come without one, or with one that another has.
        unseal: Opens encrypted reasoning.
        referred: The items that are referred to, by name.
        taken: Names of the items before them.

    Raises:
        InferloomError: One lacks what its type needs, or holds what is not text.
    """
    seen, found = set(taken), []
    for index, item in enumerate(items):
        kind = kind_of(item)
        if kind == "item_reference":
            one = dict(referred[item.id or ""])
        else:
            one = {"id": item.id, "type": kind, "status": "completed"} | _READERS[kind](
                f"input[{index}]", item, unseal
            )
        if one["id"] is None or one["id"] in seen:
            one["id"] = names.input(one["type"], index)
        seen.add(one["id"])
        found.append(one)
    return found


def _message(where: str, item: InputItem, unseal: Unseal) -> Item:
    if item.role is None:
        raise _missing(f"{where}.role")
    if item.content is None:
        raise _missing(f"{where}.content")
    kind = "output_text" if item.role == "assistant" else "input_text"
    content = [_part(f"{where}.content[{at}]", part, kind) for at, part in enumerate(item.content)]
    return {"role": item.role, "content": content}


def _function_call(where: str, item: InputItem, unseal: Unseal) -> Item:
    return {
        "call_id": _needed(where, "call_id", item.call_id),
        "name": _needed(where, "name", item.name),
        "arguments": _needed(where, "arguments", item.arguments),
        **_namespace(item),
    }


def _custom_call(where: str, item: InputItem, unseal: Unseal) -> Item:
    return {
        "call_id": _needed(where, "call_id", item.call_id),
        "name": _needed(where, "name", item.name),
        "input": _needed(where, "input", item.input),
        **_namespace(item),
    }


def _namespace(item: InputItem) -> Item:
    return {"namespace": item.namespace} if item.namespace else {}


def _call_output(where: str, item: InputItem, unseal: Unseal) -> Item:
    if item.output is None:
        raise _missing(f"{where}.output")
    parts = [_part(f"{where}.output[{at}]", part, "input_text") for at, part in enumerate(item.output)]
    return {
        "call_id": _needed(where, "call_id", item.call_id),
        "output": parts[0]["text"] if len(parts) == 1 else parts,
    }


def _reasoning(where: str, item: InputItem, unseal: Unseal) -> Item:
    summary = [_text(f"{where}.summary[{at}]", part) for at, part in enumerate(item.summary or ())]
    texts = [_text(f"{where}.content[{at}]", part) for at, part in enumerate(item.content or ())]
    if item.encrypted_content:
        opened = unseal(item.encrypted_content)
        if opened is None:
            param = f"{where}.encrypted_content"
            message = f"Invalid '{param}': it was not made by this gateway, for this caller, or was changed."
            raise invalid(param, message)
        texts = [opened]
    return {
        "summary": [{"type": "summary_text", "text": text} for text in summary],
        "content": [{"type": "reasoning_text", "text": text} for text in texts],
    }


_READERS: dict[str, Callable[[str, InputItem, Unseal], Item]] = {
    "message": _message,
    "function_call": _function_call,
    "function_call_output": _call_output,
    "custom_tool_call": _custom_call,
    "custom_tool_call_output": _call_output,
    "reasoning": _reasoning,
}


def _part(where: str, part: ContentPart, kind: str) -> Item:
    if part.type == "refusal" and kind == "output_text":
        return {"type": "refusal", "refusal": _needed(where, "refusal", part.refusal)}
    text = _text(where, part)
    extra: Item = {"annotations": [], "logprobs": []} if kind == "output_text" else {}
    return {"type": kind, "text": text} | extra


def _text(where: str, part: ContentPart) -> str:
    if part.type in _MEDIA:
        raise unsupported(where, f"Content of type '{shown(part.type)}' is not supported.")
    if part.type not in _TEXTS and part.type not in ("reasoning_text", "summary_text"):
        raise invalid(f"{where}.type", f"'{shown(part.type)}' is not a type of content.")
    return _needed(where, "text", part.text)


def _needed(where: str, name: str, value: str | None) -> str:
    if value is None:
        raise _missing(f"{where}.{name}")
    return value


def _missing(param: str) -> InferloomError:
    return invalid(param, f"Missing required parameter: '{param}'.")


def no_item(param: str, name: str) -> InferloomError:
    """The error for a reference to an item that is not kept."""
    return InferloomError(Reason.NOT_FOUND, f"There is no stored item '{shown(name)}'.", param=param)
