"""The bodies of POST /tokenize and POST /detokenize."""

from typing import Annotated, Any

from pydantic import Field

from inferloom_gateway.http.schema.base import Body, ModelId, Uint32
from inferloom_gateway.http.schema.chat import Message
from inferloom_gateway.http.schema.tools import Tool


class TokenizeRequest(Body):
    """A text or a conversation to tokenise; exactly one of ``prompt`` and ``messages``."""

    endpoint = "tokenize"

    model: ModelId
    prompt: str | None = None
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    tools: list[Tool] | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    return_token_strs: bool | None = None


class DetokenizeRequest(Body):
    """Token ids to turn into text."""

    endpoint = "detokenize"

    model: ModelId
    tokens: list[Uint32]
    skip_special_tokens: bool | None = None
