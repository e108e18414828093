"""What an SDK's own type has no field for."""

from collections.abc import Iterator

from pydantic import BaseModel


def leftover(value: object, at: str = "") -> list[str]:
    """The places of fields in an answer that the SDK's types do not know."""
    return list(_leftover(value, at))


def _leftover(value: object, at: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        for name in value.model_extra or {}:
            yield f"{at}.{name}"
        for name in type(value).model_fields:
            yield from _leftover(getattr(value, name), f"{at}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leftover(item, f"{at}[{index}]")
