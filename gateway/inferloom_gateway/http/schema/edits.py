"""The body of POST /v1/edits."""

from typing import Annotated

from pydantic import Field

from inferloom_gateway.http.schema.base import Body, ModelId


class EditRequest(Body):
    """A text, and what is to be done to it."""

    endpoint = "edits"

    model: ModelId
    instruction: str
    input: str | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
