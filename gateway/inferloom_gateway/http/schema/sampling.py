"""The parameters that chat and text completions share."""

from typing import Annotated

from pydantic import Field, StringConstraints

from inferloom_gateway.http.schema.base import (
    UINT32_MAX,
    Body,
    ModelId,
    Positive,
    Seed,
    ServiceTier,
    Stops,
    StreamOptions,
    Uint32,
)

Penalty = Annotated[float, Field(ge=-2, le=2)]
BadWord = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Bias = Annotated[float, Field(ge=-100, le=100)]


class CompletionParameters(Body):
    """How a completion is drawn, when it ends, and how it is returned."""

    model: ModelId
    max_tokens: Positive | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stop: Stops | None = None
    seed: Seed | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: Annotated[dict[str, Bias], Field(max_length=1024)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    top_k: Annotated[int, Field(ge=-1, le=2**32 - 1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=10)] | None = None
    min_tokens: Uint32 | None = None
    ignore_eos: bool | None = None
    stop_token_ids: Annotated[list[Uint32], Field(max_length=64)] | None = None
    include_stop_str_in_output: bool | None = None
    allowed_token_ids: Annotated[list[Uint32], Field(max_length=131_072)] | None = None
    bad_words: Annotated[list[BadWord], Field(max_length=1024)] | None = None
    truncate_prompt_tokens: Annotated[int, Field(ge=-1, le=UINT32_MAX)] | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] | None = None
    service_tier: ServiceTier | None = None
    prompt_cache_key: Annotated[str, Field(max_length=512)] | None = None
    cache_salt: Annotated[str, Field(max_length=128)] | None = None

    prompt_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None
    skip_special_tokens: bool | None = None
