"""Inputs that may be text or tokens, one or many."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from inferloom_gateway.http.schema.base import UINT32_MAX

Prompt = str | list[int]
"""One input: a text, or token ids."""

FORMS = "must be a string, an array of strings, an array of token ids, or an array of arrays of token ids"


def _reader(most: int, absent: list[Prompt] | None = None) -> Callable[[Any], list[Prompt]]:
    def read(value: Any) -> list[Prompt]:
        if value is None and absent is not None:
            return absent
        if isinstance(value, str) or _is_tokens(value):
            return [value]
        if not isinstance(value, list):
            raise PydanticCustomError("prompt", FORMS)
        if not value:
            raise PydanticCustomError("prompt", "must not be empty")
        if len(value) > most:
            raise PydanticCustomError("prompt", "has more than {most} inputs", {"most": most})
        kind = str if isinstance(value[0], str) else list
        for index, item in enumerate(value):
            if not isinstance(item, kind) or (kind is list and not _is_tokens(item)):
                message = FORMS + "; item {index} does not fit"
                raise PydanticCustomError("prompt", message, {"index": index})
        return value

    return read


def _is_tokens(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(type(token) is int and 0 <= token <= UINT32_MAX for token in value)
    )


def _schema(most: int, *more: dict[str, Any]) -> WithJsonSchema:
    tokens = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
    text = {"type": "string"}
    many = [{"type": "array", "items": item, "minItems": 1, "maxItems": most} for item in (text, tokens)]
    return WithJsonSchema({"anyOf": [text, tokens, *many, *more]})


CompletionPrompts = Annotated[
    list[Prompt], PlainValidator(_reader(128, absent=[""])), _schema(128, {"type": "null"})
]
"""None is one empty text, with which a document begins."""
EmbeddingInputs = Annotated[list[Prompt], PlainValidator(_reader(2048)), _schema(2048)]
