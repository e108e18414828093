"""The items of a response's input: turns, calls, results and reasoning."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from inferloom_gateway.http.schema.base import Part
from inferloom_gateway.http.schema.chat import ContentPart
from inferloom_mesh.errors import shown, unsupported

MOST_ITEMS = 10_000

KINDS = frozenset(
    {
        "message",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "reasoning",
        "item_reference",
    }
)
"""Types of items that are taken. All others belong to tools and services that are not here."""


def _parts(value: Any) -> Any:
    if isinstance(value, str):
        return [{"type": "input_text", "text": value}]
    if not isinstance(value, list):
        raise PydanticCustomError("content", "must be a string or an array of content parts")
    return value


_Content = Annotated[
    list[ContentPart], BeforeValidator(_parts, json_schema_input_type=str | list[ContentPart])
]
ItemId = Annotated[str, Field(min_length=1, max_length=128)]


class InputItem(Part):
    """One item; which fields it has depends on its type. Without one it is a message, or a reference."""

    type: str | None = None
    id: ItemId | None = None
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: _Content | None = None
    call_id: ItemId | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: _Content | None = None
    summary: list[ContentPart] | None = None
    encrypted_content: str | None = None


def _items(value: Any) -> Any:
    """The items as a list. Raises InferloomError for one of a type that is not taken."""
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": value}]
    if not isinstance(value, list):
        raise PydanticCustomError("items", "must be a string or an array of items")
    for index, item in enumerate(value):
        kind = item.get("type") if isinstance(item, dict) else None
        if isinstance(kind, str) and kind not in KINDS:
            raise unsupported(f"input[{index}]", f"Items of type '{shown(kind)}' are not supported.")
    return value


InputItems = Annotated[
    list[InputItem],
    Field(max_length=MOST_ITEMS),
    BeforeValidator(_items, json_schema_input_type=str | list[InputItem]),
]
"""The items; a string alone is one turn of the user."""
