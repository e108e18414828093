"""What the endpoints of responses answer, for the OpenAPI document."""

from typing import Any, Literal

from pydantic import Field

from inferloom_gateway.http.schema.answers import Answer
from inferloom_gateway.http.schema.completion_answers import ServiceTier, TokenLogprob

AskedTier = Literal["auto", "scale", "fast", "ultrafast"]
"""Before a worker has begun."""

Status = Literal["completed", "failed", "in_progress", "cancelled", "queued", "incomplete"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]


class ResponseText(Answer):
    """Text that was sent, said, reasoned or refused."""

    type: Literal["input_text", "output_text", "reasoning_text", "summary_text", "refusal"]
    text: str = ""
    refusal: str = ""
    annotations: list[Any] = Field(default_factory=list)
    logprobs: list[TokenLogprob] = Field(default_factory=list)


class ResponseItem(Answer):
    """A turn, a call, the result of one, or reasoning; which fields it has depends on its type."""

    id: str
    type: Literal[
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
    ]
    status: ItemStatus = "completed"
    role: Literal["system", "developer", "user", "assistant"] = "assistant"
    content: list[ResponseText] = Field(default_factory=list)
    summary: list[ResponseText] = Field(default_factory=list)
    encrypted_content: str = ""
    call_id: str = ""
    name: str = ""
    namespace: str = ""
    arguments: str = ""
    input: str = ""
    output: str | list[ResponseText] = ""


class ResponseFailure(Answer):
    """Why a response failed."""

    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
    message: str


class IncompleteDetails(Answer):
    """Why a response is incomplete."""

    reason: Literal["max_output_tokens"]
    stop_reason: Literal["deadline"] = "deadline"


class InputTokensDetails(Answer):
    """Of the tokens read."""

    cached_tokens: int
    cache_write_tokens: int


class OutputTokensDetails(Answer):
    """Of the tokens generated."""

    reasoning_tokens: int


class ResponseUsage(Answer):
    """Counts of tokens."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ResponseReasoning(Answer):
    """How much the model reasons."""

    effort: str | None
    summary: None


class ResponseAnswer(Answer):
    """A response: what POST /v1/responses answers without ``stream``."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Status
    background: bool
    completed_at: int | None
    error: ResponseFailure | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    model: str
    output: list[ResponseItem]
    parallel_tool_calls: bool
    previous_response_id: str | None
    reasoning: ResponseReasoning
    service_tier: ServiceTier | AskedTier
    store: bool
    temperature: float | None
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float | None
    truncation: Literal["auto", "disabled"]
    usage: ResponseUsage | None = None
    prompt_cache_key: str = ""
    prompt_cache_retention: str = ""
    safety_identifier: str = ""
    user: str = ""
    max_tool_calls: int = 0


class ResponseEvent(Answer):
    """One event of POST /v1/responses with ``stream``; which fields it has depends on its type."""

    type: str
    sequence_number: int
    response: ResponseAnswer | None = None
    item: ResponseItem | None = None
    part: ResponseText | None = None
    item_id: str = ""
    output_index: int = 0
    content_index: int = 0
    delta: str = ""
    text: str = ""
    arguments: str = ""
    input: str = ""
    name: str = ""
    logprobs: list[Any] = Field(default_factory=list)
    code: str | None = None
    message: str = ""
    param: str | None = None


class DeletedResponse(Answer):
    """What DELETE /v1/responses/{id} answers."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


class ResponseItemList(Answer):
    """What a response's model read, as GET /v1/responses/{id}/input_items lists it."""

    object: Literal["list"]
    data: list[ResponseItem]
    first_id: str
    last_id: str
    has_more: bool


class InputTokens(Answer):
    """How many tokens a model would read."""

    object: Literal["response.input_tokens"]
    input_tokens: int
