"""Reads a request's body: its type, its size, its JSON, its schema and its sense, each refused with its own
error."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import orjson
from fastapi import Request
from pydantic import ValidationError

from inferloom_gateway.http.disconnect import ClientDisconnectedError
from inferloom_gateway.http.errors import from_validation
from inferloom_gateway.http.schema.base import Body
from inferloom_mesh.errors import InferloomError, Reason, shown

B = TypeVar("B", bound=Body)
T = TypeVar("T")

LARGE_BYTES = 16 * 2**10
"""Bodies from this size on are taken in on a thread: a conversation of a thousand turns, or a million token
ids, would hold up everybody else."""

_thread = ThreadPoolExecutor(1, thread_name_prefix="bodies")
"""One: the event loop waits for its turn behind every thread that computes."""


async def read_body(
    request: Request, schema: type[B], limit: int, translate: Callable[[B, Mapping[str, Any]], T]
) -> T:
    """Read and validate a JSON body of at most ``limit`` bytes; return what ``translate`` makes of it, and of
    the JSON object that it was.

    Raises:
        InferloomError: It is too large, of another media type, not JSON, or not what the schema says; and
            what ``translate`` raises.
        ClientDisconnectedError: The client left before it had sent all of it.
    """
    _check_type(request.headers.get("content-type"))
    raw = await _read(request, limit)
    if len(raw) < LARGE_BYTES:
        return translate(*_validate(raw, schema))
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_thread, lambda: translate(*_validate(raw, schema)))


def _validate(raw: bytes, schema: type[B]) -> tuple[B, Mapping[str, Any]]:
    document = _parse(raw)
    try:
        return schema.model_validate(document), document
    except ValidationError as failure:
        raise from_validation(failure) from None


def _check_type(value: str | None) -> None:
    media = (value or "application/json").partition(";")[0].strip().lower()
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        message = f"The body must be application/json, not {shown(media)}."
        raise InferloomError(Reason.UNSUPPORTED_MEDIA_TYPE, message)


async def _read(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length")
    if declared is not None and int(declared) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnectedError
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> InferloomError:
    return InferloomError(Reason.REQUEST_TOO_LARGE, f"The body is over the limit of {limit} bytes.")


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as failure:
        message = (
            f"The body is not valid JSON: {failure.msg} (line {failure.lineno}, column {failure.colno})."
        )
        if raw[: 2**20].decode(errors="replace")[failure.pos :].lstrip("-").startswith(("NaN", "Infinity")):
            message += " JSON has no NaN and no infinities."
        raise InferloomError(Reason.INVALID_ARGUMENT, message) from None
    if not isinstance(body, dict):
        raise InferloomError(Reason.INVALID_ARGUMENT, "The body must be a JSON object.")
    return body
