"""The body of POST /v1/responses."""

from typing import Annotated, Any, Literal

from pydantic import Field

from inferloom_gateway.http.schema.base import Body, ModelId, Part, Positive, ServiceTier
from inferloom_gateway.http.schema.response_items import InputItems, ItemId
from inferloom_gateway.http.schema.response_tools import ResponseChoice, ResponseTools

Name = Annotated[str, Field(max_length=64)]
Value = Annotated[str, Field(max_length=512)]


class TextFormat(Part):
    """What the text must be."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    description: str | None = None
    strict: bool | None = None


class TextOptions(Part):
    """How the text is written."""

    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class Reasoning(Part):
    """How much the model reasons."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None


class ResponseRequest(Body):
    """Asks for a response: one turn of the model."""

    endpoint = "responses"

    model: ModelId
    input: InputItems | None = None
    instructions: str | None = None
    previous_response_id: ItemId | None = None

    tools: ResponseTools | None = None
    tool_choice: ResponseChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_output_tokens: Positive | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    include: list[str] | None = None
    truncation: Literal["auto", "disabled"] | None = None

    stream: bool | None = None
    background: bool | None = None
    store: bool | None = None
    metadata: Annotated[dict[Name, Value], Field(max_length=16)] | None = None

    service_tier: ServiceTier | None = None
    prompt_cache_key: Annotated[str, Field(max_length=512)] | None = None
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = None
    user: str | None = None
    max_tool_calls: int | None = None
