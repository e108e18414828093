"""What the endpoints answer, for the OpenAPI document. The answers are made in ``translate``, faster."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """A JSON object that is sent; every field is always there unless it has a default."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class ErrorObject(Answer):
    """What went wrong, as OpenAI's API says it."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(Answer):
    """The body of every answer with a status from 400 on."""

    error: ErrorObject


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


class Edit(Answer):
    """The answer of POST /v1/edits."""

    object: Literal["edit"]
    created: int
    choices: list[EditChoice]
    usage: CompletionUsage


class EmbeddingEntry(Answer):
    """The vector of one input: numbers, or little-endian float32 in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Answer):
    """Counts of tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Answer):
    """The answer of POST /v1/embeddings."""

    object: Literal["list"]
    data: list[EmbeddingEntry]
    model: str
    usage: EmbeddingUsage


class RankingUsage(Answer):
    """Counts of tokens."""

    prompt_tokens: int
    total_tokens: int


class RankedText(Answer):
    """A document's text."""

    text: str


class RankedDocument(Answer):
    """A document's place in the request and its relevance; its text unless ``return_documents`` is false."""

    index: int
    relevance_score: float
    document: RankedText | None = None


class Ranking(Answer):
    """The answer of POST /v1/rerank: the best documents first."""

    id: str
    model: str
    usage: RankingUsage
    results: list[RankedDocument]


class Score(Answer):
    """The score of one pair of texts."""

    object: Literal["score"]
    index: int
    score: float


class ScoreList(Answer):
    """The answer of POST /v1/score: the pairs in the order of the request."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[Score]
    usage: RankingUsage


class ModelCard(BaseModel):
    """A model that can be called; more fields may be there."""

    model_config = ConfigDict(protected_namespaces=())

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    context_length: int
    capabilities: list[str]
    embedding_dimensions: int | None
    supported_parameters: list[str]


class ModelWorker(Answer):
    """A worker that holds a model, or loads it."""

    id: str
    state: Literal["starting", "loading", "ready", "draining"]
    lease: Literal["active", "suspect"]
    """``suspect``: past its time to live, and not removed yet."""
    reachable: bool
    """Whether the gateway's last call reached it."""
    capacity: int
    """Requests that it takes in at once."""
    load: int
    """Requests that it has, as far as the gateway knows."""
    compute_hash: str | None
    """What it computes the model with: equal for workers that answer alike."""


class ModelDetail(ModelCard):
    """A model with everything that its workers' leases say."""

    architecture: str | None
    engine: str | None
    instruction_set: str | None
    vocabulary_size: int | None
    weights_hash: str | None
    compute_hash: str | None
    tokenizer_hash: str | None
    chat_template_hash: str | None
    tool_format: str | None
    reasoning_format: str | None
    longest_step_s: float | None
    """The longest that a step of its engine took lately, in seconds."""
    adapters: list[str]
    alias_of: str | None
    aliases: list[str]
    workers: list[ModelWorker]


class ModelList(Answer):
    """The models that can be called."""

    object: Literal["list"]
    data: list[ModelCard]


class AddedToken(Answer):
    """A token that is found in a text as a whole."""

    content: str
    special: bool
    lstrip: bool
    rstrip: bool
    single_word: bool
    normalized: bool


class TokenizeAnswer(Answer):
    """The answer of POST /tokenize."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class TokenizerInfo(BaseModel):
    """The answer of GET /tokenizer_info: what ``tokenizer_config.json`` would say; special tokens have their
    own names, such as ``bos_token``, so more fields may be there."""

    tokenizer_class: str
    chat_template: str | None
    model_max_length: int
    added_tokens_decoder: dict[str, AddedToken]
    add_bos_token: bool | None
    model: str
    tokenizer_hash: str
    vocab_size: int
    eos_token_ids: list[int]


class DetokenizeAnswer(Answer):
    """The answer of POST /detokenize."""

    prompt: str


class Health(Answer):
    """Whether requests can be answered."""

    status: Literal["ready", "not ready"]
    differing_models: dict[str, list[list[str]]] | None = None
    """Models whose workers do not all compute the same: the names of the workers of each kind."""


class Delays(Answer):
    """How many ticks of the event loop were late by at most ``upper_ms``; null: by more than all others."""

    upper_ms: float | None
    count: int


class EventLoop(Answer):
    """How late the process runs what is due."""

    ticks: int
    worst_ms: float
    buckets: list[Delays]


class Live(Answer):
    """That the process runs."""

    status: Literal["live"]
    grpc: str | None = None
    """Where its gRPC façade listens."""
    event_loop: EventLoop


class Version(Answer):
    """The software's version."""

    version: str
