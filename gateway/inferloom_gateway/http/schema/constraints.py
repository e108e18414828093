"""What a completion must conform to, in the words of OpenAI and of vLLM."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from inferloom_gateway.http.schema.base import Part
from inferloom_gateway.http.schema.sampling import CompletionParameters


def _schema(value: Any) -> Any:
    if not isinstance(value, str | dict):
        raise PydanticCustomError("json_schema", "must be an object or a string")
    return value


Schema = Annotated[str | dict[str, Any], BeforeValidator(_schema)]
"""A JSON Schema, or the text of one."""

Choices = Annotated[list[str], Field(min_length=1, max_length=1024)]


class JsonSchema(Part):
    """A JSON Schema that the answer must conform to."""

    name: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class ResponseFormat(Part):
    """What the answer must be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    """Its schema as llama.cpp's server takes it."""


class StructuredOutputs(Part):
    """What the answer must be: one of these."""

    json_: Annotated[Schema | None, Field(alias="json")] = None
    regex: str | None = None
    choice: Choices | None = None
    grammar: str | None = None
    json_object: bool | None = None


class ConstrainedParameters(CompletionParameters):
    """The parameters of a completion that may have to conform to something."""

    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: Schema | None = None
    guided_regex: str | None = None
    guided_choice: Choices | None = None
    guided_grammar: str | None = None
    grammar: str | None = None
    regex: str | None = None
