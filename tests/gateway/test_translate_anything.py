"""Any JSON that a schema lets pass is translated, or refused in words."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from inferloom_gateway.http.body import json_object
from inferloom_gateway.http.responses.making import Known, Sealing, make
from inferloom_gateway.http.schema.base import Body
from inferloom_gateway.http.schema.chat import ChatCompletionRequest
from inferloom_gateway.http.schema.completions import CompletionRequest
from inferloom_gateway.http.schema.edits import EditRequest
from inferloom_gateway.http.schema.embeddings import EmbeddingRequest
from inferloom_gateway.http.schema.ranking import RerankRequest, ScoreRequest
from inferloom_gateway.http.schema.responses import ResponseRequest
from inferloom_gateway.http.schema.tokens import DetokenizeRequest, TokenizeRequest
from inferloom_gateway.http.translate import chat, completions, edits, embeddings, ranking, tokens
from inferloom_gateway.http.translate.responses import request as responses
from inferloom_mesh.errors import InferloomError
from tests.parity.samples import LEAST


def _response(body: ResponseRequest) -> object:
    responses.check(body)
    return make(body, Known(), "resp_1", "id", 1, Sealing(None, ""), store=False)


ENDPOINTS: dict[str, tuple[type[Body], Callable[[Any], object]]] = {
    "chat": (ChatCompletionRequest, lambda body: chat.plan(body, "id", 1)),
    "completions": (CompletionRequest, lambda body: completions.plan(body, "id", 1)),
    "edits": (EditRequest, lambda body: edits.generation(body, "id", chats=True)),
    "responses": (ResponseRequest, _response),
    "embeddings": (EmbeddingRequest, lambda body: embeddings.batches(body, "id", 64)),
    "rerank": (RerankRequest, lambda body: ranking.rerank(body, "id")),
    "score": (ScoreRequest, lambda body: ranking.score(body, "id")),
    "tokenize": (TokenizeRequest, tokens.tokenize_request),
    "detokenize": (DetokenizeRequest, tokens.detokenize_request),
}

WORDS = (
    "type",
    "function",
    "name",
    "parameters",
    "role",
    "user",
    "assistant",
    "tool",
    "system",
    "content",
    "text",
    "tool_calls",
    "id",
    "arguments",
    "auto",
    "none",
    "required",
    "json_schema",
    "json_object",
    "schema",
    "{}",
    "",
    "allowed_tools",
    "custom",
    "format",
    "grammar",
    "lark",
    "regex",
    "enum",
    "strict",
    "object",
    "\0",
    "é",
)

LEAVES = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, 1, -1, 2, 20, 2**31, 2**32, 2**63, 2**64, -(2**63), 0.5, 1e308])
    | st.sampled_from(WORDS)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@settings(max_examples=20)
@given(data=st.data())
def test_whatever_is_valid_is_translated_or_refused(endpoint: str, data: st.DataObject) -> None:
    """Some fields of the endpoint's own have any JSON; nothing but a refusal comes of it."""
    schema, translate = ENDPOINTS[endpoint]
    fields = sorted(info.alias or name for name, info in schema.model_fields.items())
    body = dict(LEAST[endpoint])
    for name in data.draw(st.lists(st.sampled_from(fields), max_size=4, unique=True)):
        body[name] = data.draw(VALUES)
    try:
        translate(schema.model_validate(json_object(json.dumps(body).encode())))
    except (ValidationError, InferloomError):
        return
