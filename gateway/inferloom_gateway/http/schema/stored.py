"""Files, batches and stored chat completions: what is asked, and what is answered."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from inferloom_gateway.http.schema.answers import Answer
from inferloom_gateway.http.schema.base import Body, Metadata, Part
from inferloom_gateway.http.schema.completion_answers import ChatAnswerMessage, ChatCompletion

FileId = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class ExpiresAfter(Part):
    """How long a file is kept: ``seconds`` after it was made."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2_592_000)]


class BatchRequest(Body):
    """A file of requests to answer within a day."""

    endpoint = "batches"

    input_file_id: FileId
    asked: Annotated[
        Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/rerank"],
        Field(alias="endpoint"),
    ]
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None


class ChatUpdate(Body):
    """What a stored chat completion's metadata becomes."""

    endpoint = "chat_update"

    metadata: Metadata | None


class FileObject(Answer):
    """A file."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: Literal["batch", "batch_output"]
    status: Literal["processed"]


class Listed(Answer):
    """Some of several things, in order; ``after`` takes ``last_id`` for those behind them."""

    object: Literal["list"]
    first_id: str
    last_id: str
    has_more: bool


class FileList(Listed):
    """Files."""

    data: list[FileObject]


class FileDeleted(Answer):
    """That a file is gone."""

    id: str
    object: Literal["file"]
    deleted: Literal[True]


class BatchError(Answer):
    """What is wrong with a batch's input."""

    code: str
    message: str
    param: str | None
    line: int | None


class BatchErrors(Answer):
    """The first things that are wrong with it."""

    object: Literal["list"]
    data: list[BatchError]


class BatchCounts(Answer):
    """How far a batch is, in lines."""

    total: int
    completed: int
    failed: int


class CachedTokens(Answer):
    """Of the tokens that were read."""

    cached_tokens: int


class ReasoningTokens(Answer):
    """Of the tokens that were made."""

    reasoning_tokens: int


class BatchUsage(Answer):
    """Tokens of all answered lines."""

    input_tokens: int
    input_tokens_details: CachedTokens
    output_tokens: int
    output_tokens_details: ReasoningTokens
    total_tokens: int


class Batch(Answer):
    """A batch; moments are seconds since 1970. What there is not yet is absent."""

    id: str
    object: Literal["batch"]
    endpoint: str
    model: str | None = None
    errors: BatchErrors | None = None
    input_file_id: str
    completion_window: Literal["24h"]
    status: Literal[
        "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
    ]
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: int
    in_progress_at: int | None = None
    expires_at: int
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: BatchCounts
    usage: BatchUsage | None = None
    metadata: dict[str, str] | None = None


class BatchList(Listed):
    """Batches."""

    data: list[Batch]


class StoredChatCompletion(ChatCompletion):
    """A chat completion that was made with ``store``."""

    metadata: dict[str, str] | None


class StoredChatList(Listed):
    """Stored chat completions."""

    data: list[StoredChatCompletion]


class StoredChatDeleted(Answer):
    """That a stored chat completion is gone."""

    id: str
    object: Literal["chat.completion.deleted"]
    deleted: Literal[True]


class StoredText(Answer):
    """A part of a message."""

    type: Literal["text"]
    text: str


class StoredMessage(ChatAnswerMessage):
    """A message of the conversation that a stored chat completion continued."""

    id: str
    role: str  # type: ignore[assignment] # anybody's
    name: str | None = None
    content_parts: list[StoredText] | None


class StoredMessageList(Listed):
    """The messages of a stored chat completion's request."""

    data: list[StoredMessage]
