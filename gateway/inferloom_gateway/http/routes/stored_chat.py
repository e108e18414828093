"""/v1/chat/completions by name: those that were made with ``store``."""

import re
from dataclasses import replace
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response

from inferloom_gateway.http.exchange import identity_of
from inferloom_gateway.http.routes.shared import (
    ERRORS,
    answers,
    documents,
    gateway_of,
    json_response,
    translate_off_loop,
)
from inferloom_gateway.http.schema.base import Metadata
from inferloom_gateway.http.schema.stored import (
    ChatUpdate,
    StoredChatCompletion,
    StoredChatDeleted,
    StoredChatList,
    StoredMessageList,
)
from inferloom_gateway.http.translate import stored
from inferloom_gateway.storage.documents import Documents
from inferloom_gateway.storage.kinds import CHAT_COMPLETIONS
from inferloom_gateway.storage.rows import Row
from inferloom_mesh.errors import invalid

router = APIRouter(tags=["chat"], responses=ERRORS)

Limit = Annotated[int, Query(ge=1, le=100)]
Order = Literal["asc", "desc"]

MOST_LABELS = 16
_LABEL = re.compile(r"metadata\[(.{1,64})\]", re.DOTALL)

_LABELS: dict[str, Any] = {
    "parameters": [
        {
            "name": "metadata",
            "in": "query",
            "style": "deepObject",
            "schema": {"type": "object", "additionalProperties": True},
            "description": "What must be written on a completion: metadata[key]=value, one or several.",
        }
    ]
}


async def completions_of(request: Request) -> Documents:
    """The stored chat completions."""
    return (await gateway_of(request).storage.open()).documents(CHAT_COMPLETIONS)


@router.get("/v1/chat/completions", responses=answers(StoredChatList), openapi_extra=_LABELS)
async def list_chat_completions(
    request: Request,
    after: str | None = None,
    limit: Limit = 20,
    order: Order = "asc",
    model: str | None = None,
) -> Response:
    """List stored chat completions, the oldest first unless ``order`` says otherwise."""
    query = replace(stored.query(after, limit, order, model=model), labels=_labels(request))
    page = await (await completions_of(request)).page(identity_of(request.scope).tenant, query)
    return Response(stored.listed(page), media_type="application/json")


@router.get("/v1/chat/completions/{completion_id}", responses=answers(StoredChatCompletion))
async def retrieve_chat_completion(request: Request, completion_id: str) -> Response:
    """A stored chat completion."""
    row = await (await completions_of(request)).get(identity_of(request.scope).tenant, completion_id)
    return Response(row.document, media_type="application/json")


@router.post(
    "/v1/chat/completions/{completion_id}",
    responses=answers(StoredChatCompletion),
    openapi_extra=documents(ChatUpdate, simple={"metadata": {"topic": "greeting"}}),
)
async def update_chat_completion(request: Request, completion_id: str) -> Response:
    """Replace the metadata of a stored chat completion."""
    metadata, headers = await translate_off_loop(request, ChatUpdate, lambda body: body.metadata)
    completions = await completions_of(request)
    tenant = identity_of(request.scope).tenant
    row = await completions.change(tenant, completion_id, lambda found: _relabelled(found, metadata))
    return Response(row.document, headers=headers, media_type="application/json")


@router.delete("/v1/chat/completions/{completion_id}", responses=answers(StoredChatDeleted))
async def delete_chat_completion(request: Request, completion_id: str) -> Response:
    """Delete a stored chat completion."""
    await (await completions_of(request)).delete(identity_of(request.scope).tenant, completion_id)
    return json_response({"id": completion_id, "object": "chat.completion.deleted", "deleted": True})


@router.get("/v1/chat/completions/{completion_id}/messages", responses=answers(StoredMessageList))
async def list_messages(
    request: Request,
    completion_id: str,
    after: str | None = None,
    limit: Limit = 20,
    order: Order = "asc",
) -> Response:
    """List the messages that a stored chat completion answers, in their order unless ``order`` says else."""
    row = await (await completions_of(request)).get(identity_of(request.scope).tenant, completion_id)
    messages = {f"{row.id}-{n}": message for n, message in enumerate(orjson.loads(row.extra))}
    names = list(messages) if order == "asc" else list(reversed(messages))
    if after is not None:
        if after not in messages:
            raise invalid("after", f"Invalid 'after': this completion has no message '{after}'.")
        names = names[names.index(after) + 1 :]
    shown = names[:limit]
    made = [orjson.dumps({"id": name, **messages[name]}) for name in shown]
    return Response(stored.joined(made, shown, len(names) > limit), media_type="application/json")


def _relabelled(row: Row, metadata: Metadata | None) -> Row:
    document = orjson.dumps({**orjson.loads(row.document), "metadata": metadata})
    return replace(row, labels=metadata or {}, document=document)


def _labels(request: Request) -> dict[str, str]:
    labels: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if found := _LABEL.fullmatch(name):
            labels[found[1]] = value
    if len(labels) > MOST_LABELS:
        raise invalid("metadata", f"Invalid 'metadata': must have at most {MOST_LABELS} entries.")
    return labels
