"""/v1/batches: files of requests, answered within a day."""

from collections.abc import Sequence
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request, Response

from inferloom_gateway.access.endpoints import of_path
from inferloom_gateway.http.exchange import identity_of
from inferloom_gateway.http.routes.shared import (
    ERRORS,
    answers,
    documents,
    gateway_of,
    json_response,
    translate_off_loop,
)
from inferloom_gateway.http.schema.stored import Batch, BatchList, BatchRequest
from inferloom_gateway.http.translate import stored
from inferloom_gateway.storage.batches import Batches, Document

router = APIRouter(tags=["batches"], responses=ERRORS)

_NIGHTLY = {
    "input_file_id": "file-abc123",
    "endpoint": "/v1/chat/completions",
    "completion_window": "24h",
    "metadata": {"job": "nightly"},
}


async def batches_of(request: Request) -> Batches:
    """The batches that are stored."""
    return Batches(await gateway_of(request).storage.open())


@router.post("/v1/batches", responses=answers(Batch), openapi_extra=documents(BatchRequest, simple=_NIGHTLY))
async def create_batch(request: Request) -> Response:
    """Answer the requests of an uploaded file, one a line, behind everything that is asked for directly."""
    body, headers = await translate_off_loop(request, BatchRequest, lambda body: body)
    gateway, identity = gateway_of(request), identity_of(request.scope)
    identity.check_endpoint(of_path(body.asked))
    asked = {
        "endpoint": body.asked,
        "input_file_id": body.input_file_id,
        "completion_window": body.completion_window,
        **({} if body.metadata is None else {"metadata": body.metadata}),
    }
    expiry = body.output_expires_after
    extra = {"key_id": identity.key_id, "file_age_s": None if expiry is None else expiry.seconds}
    batches = await batches_of(request)
    batch = await batches.accept(identity.tenant, asked, extra, gateway.settings.store_age_s)
    gateway.storage.woken.set()
    return json_response(batch, headers=headers)


@router.get("/v1/batches", responses=answers(BatchList))
async def list_batches(
    request: Request, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> Response:
    """List batches, the newest first."""
    found: Sequence[Document]
    query = stored.query(after, limit, "desc")
    found, more = await (await batches_of(request)).page(identity_of(request.scope).tenant, query)
    listed = stored.joined([orjson.dumps(each) for each in found], [each["id"] for each in found], more)
    return Response(listed, media_type="application/json")


@router.get("/v1/batches/{batch_id}", responses=answers(Batch))
async def retrieve_batch(request: Request, batch_id: str) -> Response:
    """Tell how far a batch is."""
    return json_response(await (await batches_of(request)).get(identity_of(request.scope).tenant, batch_id))


@router.post("/v1/batches/{batch_id}/cancel", responses=answers(Batch))
async def cancel_batch(request: Request, batch_id: str) -> Response:
    """Answer no more lines of a batch; what has been answered can be read."""
    batch = await (await batches_of(request)).cancel(identity_of(request.scope).tenant, batch_id)
    gateway_of(request).storage.woken.set()
    return json_response(batch)
