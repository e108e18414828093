"""What the request bodies share."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

UINT32_MAX = 2**32 - 1


class Body(BaseModel):
    """A JSON object of an OpenAI-compatible API. A field that is null is as if it were absent.

    Each declared field has its row in the parameter table; fields that are not declared, here and in parts,
    are judged by ``unknown_fields``.
    """

    endpoint: ClassVar[str]
    """The endpoint's name in the parameter table."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())


class Part(BaseModel):
    """An object within a body."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


ModelId = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Stop = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Uint32 = Annotated[int, Field(ge=0, le=UINT32_MAX)]
Positive = Annotated[int, Field(ge=1, le=UINT32_MAX)]
Metadata = Annotated[
    dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]],
    Field(max_length=16),
]
"""What the owner of a stored thing writes on it."""

ServiceTier = Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"]
"""Who waits for whom; some clients know some of the names, others others."""

Seed = Annotated[int, Field(ge=-(2**63), le=2**64 - 1)]


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise PydanticCustomError("stops", "must be a string or an array of strings")
    return value


Stops = Annotated[
    list[Stop],
    Field(max_length=16),
    BeforeValidator(_listed, json_schema_input_type=Stop | Annotated[list[Stop], Field(max_length=16)]),
]
"""Stop strings; one may stand without its list."""


def text_parts(value: Any) -> Any:
    """A text that stands without its list, as the part that it is."""
    if isinstance(value, str):
        return [{"type": "text", "text": value}]
    if not isinstance(value, list):
        raise PydanticCustomError("content", "must be a string or an array of content parts")
    return value


class StreamOptions(Part):
    """What a stream carries beside its tokens."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
