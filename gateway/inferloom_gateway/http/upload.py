"""Takes a file in: from the connection to the disk, without holding more of it than a piece."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import Request

from inferloom_gateway.http.content_encoding import coding_of
from inferloom_gateway.http.intake import Intake
from inferloom_gateway.http.multipart import Form
from inferloom_gateway.http.request_bytes import receive_part, too_large
from inferloom_gateway.storage.contents import Incoming
from inferloom_gateway.storage.failures import on_disk
from inferloom_gateway.storage.store import Store
from inferloom_mesh.errors import InferloomError, Reason

PIECE_BYTES = 2**20
"""What is gathered before a thread takes it to the disk."""

FORM_BYTES = 64 * 2**10
"""What a form may have around its file."""


@asynccontextmanager
async def received(
    request: Request, intake: Intake, store: Store, limit: int
) -> AsyncIterator[tuple[Form, Incoming]]:
    """The form that a request brings, and its file, complete on disk; gone after the block unless kept.

    Args:
        request: Its body has not been read.
        intake: Bounds what the process holds.
        store: Where the file goes.
        limit: Most bytes of the file.

    Raises:
        InferloomError: The form is refused, too large or too slow, or there is no room for it.
        ClientDisconnectedError: The client left before it had sent all of it.
    """
    headers = request.headers
    if coding_of(headers.get("content-encoding")) is not None:
        message = "An upload cannot have a Content-Encoding."
        raise InferloomError(Reason.UNSUPPORTED_MEDIA_TYPE, message)
    declared = int(headers.get("content-length") or 0)
    if declared > limit + FORM_BYTES:
        raise too_large(limit)
    await store.check_room(declared)
    incoming = await on_disk(store.contents.create)
    try:
        form = Form(headers.get("content-type", ""), incoming.write)
        with intake.hold() as held:
            held.add(PIECE_BYTES)
            await _take(request, form, incoming, limit)
        await on_disk(incoming.complete)
        yield form, incoming
    finally:
        await on_disk(incoming.discard)


async def _take(request: Request, form: Form, incoming: Incoming, limit: int) -> None:
    gathered, total, more = bytearray(), 0, True
    while more:
        part, more = await receive_part(request)
        gathered += part
        total += len(part)
        if total > limit + FORM_BYTES or incoming.size > limit:
            raise too_large(limit)
        if len(gathered) >= PIECE_BYTES or not more:
            await on_disk(partial(form.feed, gathered))
            gathered = bytearray()
    if incoming.size > limit:
        raise too_large(limit)
    form.finish()
