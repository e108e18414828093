"""Whether what was received is what the official SDK's types say, with nothing left over."""

from collections.abc import Iterator
from typing import Any

from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

OURS = frozenset({"Response.store", "ResponseFunctionCallArgumentsDoneEvent.name"})
"""Fields that OpenAI's own description has, and this SDK's types have not."""

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def left_over(value: object) -> Iterator[str]:
    """The fields of a parsed answer that its types do not know, as Type.field."""
    if isinstance(value, BaseModel):
        for name in value.model_extra or {}:
            if f"{type(value).__name__}.{name}" not in OURS:
                yield f"{type(value).__name__}.{name}"
        for name in type(value).model_fields:
            yield from left_over(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from left_over(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from left_over(item)


def response(document: Any) -> Response:
    """The response that a document is, strictly."""
    parsed = Response.model_validate(document)
    assert list(left_over(parsed)) == []
    return parsed


def event(document: Any) -> Any:
    """The event that a document is, strictly."""
    parsed = EVENT.validate_python(document)
    assert list(left_over(parsed)) == []
    return parsed
