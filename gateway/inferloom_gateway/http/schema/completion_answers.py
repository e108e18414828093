"""What chat, text completions and edits answer, for the OpenAPI document."""

from typing import Literal

from inferloom_gateway.http.schema.answers import Answer

ServiceTier = Literal["default", "flex", "priority"]


FinishReason = Literal["stop", "length", "tool_calls", "function_call"]


class PromptTokensDetails(Answer):
    """Of the prompt's tokens."""

    cached_tokens: int


class CompletionTokensDetails(Answer):
    """Of the completion's tokens."""

    reasoning_tokens: int
    accepted_prediction_tokens: int
    rejected_prediction_tokens: int


class CompletionUsage(Answer):
    """Counts of tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class AlternativeLogprob(Answer):
    """A token that was likely at a place."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(AlternativeLogprob):
    """A token of the answer."""

    top_logprobs: list[AlternativeLogprob]


class ChatLogprobs(Answer):
    """Log-probabilities of the tokens of a chat choice."""

    content: list[TokenLogprob]
    refusal: list[TokenLogprob] | None


class MadeFunctionCall(Answer):
    """A function's name and its arguments, as JSON text."""

    name: str
    arguments: str


class MadeToolCall(Answer):
    """A call that the model asks for."""

    id: str
    type: Literal["function"]
    function: MadeFunctionCall


class MadeCustomInput(Answer):
    """A custom tool's name and the text for it."""

    name: str
    input: str


class MadeCustomCall(Answer):
    """A call of a custom tool."""

    id: str
    type: Literal["custom"]
    custom: MadeCustomInput


class ChatAnswerMessage(Answer):
    """The assistant's turn."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    reasoning_content: str = ""
    reasoning: str = ""
    tool_calls: list[MadeToolCall | MadeCustomCall] = []
    function_call: MadeFunctionCall | None = None


class PromptAlternative(Answer):
    """A token at a place of the prompt."""

    logprob: float
    rank: int
    decoded_token: str


PromptLogprobs = list[dict[str, PromptAlternative] | None]
"""At each place of the prompt, tokens by their ids; nothing at the first."""


class ChatChoice(Answer):
    """One completion of a conversation."""

    index: int
    message: ChatAnswerMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None
    stop_reason: Literal["deadline"] = "deadline"
    """Where the request's time was over before the choice was whole; else it is not there."""
    token_ids: list[int] = []
    """With ``return_token_ids``."""


class ChatCompletion(Answer):
    """The answer of POST /v1/chat/completions without ``stream``."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: CompletionUsage
    system_fingerprint: str | None
    service_tier: ServiceTier | None = None
    """Where the request says one."""
    prompt_token_ids: list[int] = []
    """With ``return_token_ids``."""
    prompt_logprobs: PromptLogprobs = []
    """With ``prompt_logprobs``."""


class FunctionCallDelta(Answer):
    """More of a call."""

    name: str = ""
    arguments: str


class CustomCallDelta(Answer):
    """More of a custom tool's call."""

    name: str = ""
    input: str


class ToolCallDelta(Answer):
    """More of a call; its first part has its id."""

    index: int
    id: str = ""
    type: Literal["function", "custom"] = "function"
    function: FunctionCallDelta | None = None
    custom: CustomCallDelta | None = None


class ChatDelta(Answer):
    """More of the assistant's turn."""

    role: Literal["assistant"] = "assistant"
    content: str = ""
    refusal: str | None = None
    reasoning_content: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCallDelta] = []
    function_call: FunctionCallDelta | None = None


class ChatChunkChoice(Answer):
    """More of one completion."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None
    stop_reason: Literal["deadline"] = "deadline"
    token_ids: list[int] = []


class ChatCompletionChunk(Answer):
    """One event of POST /v1/chat/completions with ``stream``; the last event is ``[DONE]``."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: str | None
    choices: list[ChatChunkChoice]
    usage: CompletionUsage | None = None
    service_tier: ServiceTier | None = None
    prompt_token_ids: list[int] = []


class TextLogprobs(Answer):
    """Log-probabilities of a text choice's tokens; one that is no whole character is ``bytes:\\x…``."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class TextChoice(Answer):
    """One completion of a text."""

    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: FinishReason | None
    stop_reason: Literal["deadline"] = "deadline"
    token_ids: list[int] = []
    """With ``return_token_ids``, as the next."""
    prompt_token_ids: list[int] = []
    prompt_logprobs: PromptLogprobs = []
    """With ``prompt_logprobs``."""


class TextCompletion(Answer):
    """The answer of POST /v1/completions; with ``stream``, each of its events but the last, ``[DONE]``."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: CompletionUsage | None = None
    system_fingerprint: str | None


class EditChoice(Answer):
    """One way to edit a text."""

    index: int
    text: str
    finish_reason: FinishReason | None
    stop_reason: Literal["deadline"] = "deadline"


class Edit(Answer):
    """The answer of POST /v1/edits."""

    object: Literal["edit"]
    created: int
    choices: list[EditChoice]
    usage: CompletionUsage
