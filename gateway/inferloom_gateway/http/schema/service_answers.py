"""What is answered of models, tokens and the gateway itself, for the OpenAPI document."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from inferloom_gateway.http.schema.answers import Answer


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
    constraints: list[str]
    """What ``structured_outputs`` and ``response_format`` may ask for, and ``gbnf``, a form of grammars."""


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


class ModelContinuation(Answer):
    """How the model's generations go on at another worker."""

    continuity: Literal["none", "tokens", "exact"]
    without: list[str]
    """Fields of the contract with which they do not."""


class ModelDetail(ModelCard):
    """A model with everything that its workers' leases say."""

    architecture: str | None
    engine: str | None
    server: str | None
    """Kind and version of the server that computes it, where one outside of the mesh does."""
    instruction_set: str | None
    vocabulary_size: int | None
    weights_hash: str | None
    compute_hash: str | None
    tokenizer_hash: str | None
    chat_template_hash: str | None
    tool_format: str | None
    reasoning_format: str | None
    continuation: ModelContinuation | None
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
    registry_frozen: str | None = None
    """Why the registry cannot change its set of workers now. Absent: it can."""


class Delays(Answer):
    """How many ticks of the event loop were late by at most ``upper_ms``; null: by more than all others."""

    upper_ms: float | None
    count: int


class EventLoop(Answer):
    """How late the process runs what is due."""

    ticks: int
    worst_ms: float
    recent_ms: float
    """The longest delay of the last five to ten minutes."""
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
