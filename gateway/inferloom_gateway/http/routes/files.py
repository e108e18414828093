"""/v1/files: what batches read and write."""

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError
from starlette.responses import FileResponse

from inferloom_gateway.http.errors import from_validation
from inferloom_gateway.http.exchange import identity_of
from inferloom_gateway.http.multipart import Form
from inferloom_gateway.http.routes.shared import ERRORS, answers, gateway_of, json_response
from inferloom_gateway.http.schema.stored import ExpiresAfter, FileDeleted, FileList, FileObject
from inferloom_gateway.http.translate import stored
from inferloom_gateway.http.unknown_fields import FieldPolicy, Unknown
from inferloom_gateway.http.upload import received
from inferloom_gateway.storage.documents import Documents
from inferloom_gateway.storage.failures import on_disk
from inferloom_gateway.storage.kinds import FILES
from inferloom_gateway.storage.store import Store
from inferloom_mesh.errors import InferloomError, Reason, invalid, shown, unsupported

router = APIRouter(tags=["files"], responses=ERRORS)

LONGEST_NAME = 512
"""Characters of a file's name that are kept."""

PURPOSE = "batch"
_OTHER_PURPOSES = ("assistants", "fine-tune", "vision", "user_data", "evals")
_KNOWN = frozenset({"purpose", "expires_after[anchor]", "expires_after[seconds]"})

_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": [PURPOSE]},
                        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                        "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2592000},
                    },
                }
            }
        },
    }
}


async def files_of(request: Request) -> tuple[Store, Documents]:
    """The store and the files in it."""
    store = await gateway_of(request).storage.open()
    return store, store.documents(FILES)


@router.post("/v1/files", responses=answers(FileObject), openapi_extra=_FORM)
async def upload_file(request: Request) -> Response:
    """Keep a file for a batch: JSON objects, one a line."""
    gateway, tenant = gateway_of(request), identity_of(request.scope).tenant
    store, files = await files_of(request)
    limit = gateway.settings.max_upload_bytes
    async with received(request, request.app.state.intake, store, limit) as (form, incoming):
        name = form.finish()[:LONGEST_NAME]
        expires_after, headers = _read(form, request.app.state.fields)
        created, row_id = time.time(), files.new_id()
        expires = created + (expires_after or gateway.settings.store_age_s)
        await on_disk(lambda: store.contents.keep(incoming, row_id))
        row = stored.file_row(row_id, tenant, incoming.size, created, expires, name, PURPOSE)
        try:
            await files.put(row)
        except InferloomError:
            await on_disk(lambda: store.contents.delete(row_id))
            raise
    return Response(row.document, headers=headers, media_type="application/json")


@router.get("/v1/files", responses=answers(FileList))
async def list_files(
    request: Request,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    purpose: str | None = None,
) -> Response:
    """List files, the newest first unless ``order`` says otherwise."""
    _, files = await files_of(request)
    query = stored.query(after, limit, order, status=purpose)
    page = await files.page(identity_of(request.scope).tenant, query)
    return Response(stored.listed(page), media_type="application/json")


@router.get("/v1/files/{file_id}", responses=answers(FileObject))
async def retrieve_file(request: Request, file_id: str) -> Response:
    """Describe a file."""
    _, files = await files_of(request)
    row = await files.get(identity_of(request.scope).tenant, file_id)
    return Response(row.document, media_type="application/json")


@router.get(
    "/v1/files/{file_id}/content",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}},
)
async def file_content(request: Request, file_id: str) -> Response:
    """The bytes of a file."""
    store, files = await files_of(request)
    row = await files.get(identity_of(request.scope).tenant, file_id)
    path = store.contents.path(row.id)
    if not await on_disk(path.is_file):  # deleted meanwhile
        raise files.missing(file_id)
    return FileResponse(path, media_type="application/octet-stream")


@router.delete("/v1/files/{file_id}", responses=answers(FileDeleted))
async def delete_file(request: Request, file_id: str) -> Response:
    """Delete a file; batches that have been accepted go on without it."""
    _, files = await files_of(request)
    await files.delete(identity_of(request.scope).tenant, file_id)
    return json_response({"id": file_id, "object": "file", "deleted": True})


def _read(form: Form, policy: FieldPolicy) -> tuple[float | None, dict[str, str]]:
    """How long the file is to be kept, in seconds, and the headers that tell what was ignored."""
    purpose = form.fields.get("purpose")
    if purpose is None:
        raise invalid("purpose", "Missing required parameter: 'purpose'.")
    if purpose in _OTHER_PURPOSES:
        raise unsupported("purpose", f"Files of purpose '{purpose}' are not served here, only '{PURPOSE}'.")
    if purpose != PURPOSE:
        message = f"Invalid 'purpose': must be '{PURPOSE}', not '{shown(purpose)}'."
        raise InferloomError(Reason.INVALID_ARGUMENT, message, param="purpose")
    headers = policy.ignored("files", [Unknown(name, None) for name in form.fields if name not in _KNOWN])
    wanted = {part: form.fields.get(f"expires_after[{part}]") for part in ("anchor", "seconds")}
    if wanted["anchor"] is None and wanted["seconds"] is None:
        return None, headers
    seconds = wanted["seconds"] or ""
    try:
        checked = ExpiresAfter.model_validate(
            {"anchor": wanted["anchor"], "seconds": int(seconds) if seconds.isdecimal() else seconds}
        )
    except ValidationError as failure:
        raise from_validation(failure, "expires_after") from None
    return checked.seconds, headers
