"""The body of POST /v1/completions."""

from typing import Annotated

from pydantic import Field

from inferloom_gateway.http.schema.base import Uint32
from inferloom_gateway.http.schema.constraints import ConstrainedParameters
from inferloom_gateway.http.schema.prompts import CompletionPrompts


class CompletionRequest(ConstrainedParameters):
    """Texts, or token sequences, to continue."""

    endpoint = "completions"

    prompt: CompletionPrompts = [""]
    suffix: str | None = None
    max_tokens: Uint32 | None = None
    max_completion_tokens: Uint32 | None = None
    """What a chat calls it, and some clients send beside the other."""
    best_of: Annotated[int, Field(ge=1, le=128)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
