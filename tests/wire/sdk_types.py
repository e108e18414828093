"""Whether what was received is what the official SDK's types say, with nothing left over."""

from collections.abc import Iterator
from typing import Any

from openai.types import Batch, Completion, CreateEmbeddingResponse, FileDeleted, FileObject, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionDeleted
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter
from shapes.extensions import EXTENSIONS
from shapes.nulls import without_first_nulls

OURS = frozenset({"Response.store", "ResponseFunctionCallArgumentsDoneEvent.name"})
"""Fields that OpenAI's own description has, and this SDK's types have not."""

EXTENDED = {
    "Model": EXTENSIONS["model"],
    "ChatCompletion": EXTENSIONS["completion"],
    "ChatCompletionChunk": EXTENSIONS["completion"],
    "ChatCompletionMessage": EXTENSIONS["message"],
    "ChoiceDelta": EXTENSIONS["message"],
    "Choice": EXTENSIONS["choice"],
    "ChoiceDeltaToolCall": EXTENSIONS["call"],
    "IncompleteDetails": EXTENSIONS["incomplete"],
    "CompletionChoice": EXTENSIONS["choice"],
}
"""Types of the SDK, and the fields that ours have besides."""

BODIES: dict[tuple[str, str], type[BaseModel]] = {
    ("post", "/v1/chat/completions"): ChatCompletion,
    ("get", "/v1/chat/completions/{completion_id}"): ChatCompletion,
    ("delete", "/v1/chat/completions/{completion_id}"): ChatCompletionDeleted,
    ("post", "/v1/completions"): Completion,
    ("post", "/v1/embeddings"): CreateEmbeddingResponse,
    ("get", "/v1/models/{model}"): Model,
    ("post", "/v1/files"): FileObject,
    ("get", "/v1/files/{file_id}"): FileObject,
    ("delete", "/v1/files/{file_id}"): FileDeleted,
    ("post", "/v1/batches"): Batch,
    ("get", "/v1/batches/{batch_id}"): Batch,
    ("post", "/v1/batches/{batch_id}/cancel"): Batch,
    ("post", "/v1/responses"): Response,
    ("get", "/v1/responses/{response_id}"): Response,
}
"""What the SDK makes of a body, by method and documented path."""

ENTRIES: dict[str, type[BaseModel]] = {
    "/v1/models": Model,
    "/v1/files": FileObject,
    "/v1/batches": Batch,
    "/v1/chat/completions": ChatCompletion,
}
"""What it makes of the entries of a list."""

EVENTS: dict[str, type[BaseModel]] = {
    "/v1/chat/completions": ChatCompletionChunk,
    "/v1/completions": Completion,
}
"""What it makes of an event's data."""

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def left_over(value: object) -> Iterator[str]:
    """The fields of a parsed answer that its types do not know, as Type.field."""
    if isinstance(value, BaseModel):
        for name in value.model_extra or {}:
            kind = type(value).__name__
            if f"{kind}.{name}" not in OURS and name not in EXTENDED.get(kind, ()):
                yield f"{kind}.{name}"
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


def strictly(kind: type[BaseModel], document: Any) -> None:
    """Fail unless a document is of a type of the SDK, with nothing left over but documented extensions."""
    assert list(left_over(kind.model_validate(without_first_nulls(document)))) == []


def body(method: str, path: str, document: Any) -> None:
    """The same of an answer, by method and documented path; what OpenAI's API has not is let pass."""
    if (kind := BODIES.get((method, path))) is not None:
        strictly(kind, document)
    elif method == "get" and path in ENTRIES:
        for entry in document["data"]:
            strictly(ENTRIES[path], entry)
