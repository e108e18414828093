"""Reads a request's body: its type, its size, its JSON, its schema and its sense, each refused with its own
error."""

from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson
from fastapi import Request
from pydantic import ValidationError

from inferloom_gateway.http.content_encoding import coding_of, decoded
from inferloom_gateway.http.errors import from_validation
from inferloom_gateway.http.intake import Intake
from inferloom_gateway.http.request_bytes import take_in
from inferloom_gateway.http.schema.base import Body
from inferloom_gateway.http.unique_keys import repeated_key
from inferloom_mesh.errors import InferloomError, Reason, shown

B = TypeVar("B", bound=Body)
T = TypeVar("T")

UNCLEAR = "The body can be read in two ways."

LARGE_BYTES = 16 * 2**10
"""Bodies from this size on are taken in on a thread: a conversation of a thousand turns, or a million token
ids, would hold up everybody else."""


async def read_body(
    request: Request,
    intake: Intake,
    schema: type[B],
    limit: int,
    translate: Callable[[B, Mapping[str, Any]], T],
) -> T:
    """Read and validate a JSON body of at most ``limit`` bytes; return what ``translate`` makes of it, and of
    the JSON object that it was.

    Raises:
        InferloomError: It is too large or too slow, of another media type, not JSON, or not what the schema
            says; the process holds as many as it can; and what ``translate`` raises.
        ClientDisconnectedError: The client left before it had sent all of it.
    """
    headers = request.headers
    _check_type(headers.get("content-type"))
    coding = coding_of(headers.get("content-encoding"))

    def read(raw: bytes | bytearray) -> T:
        return translate(*_validate(raw if coding is None else decoded(raw, coding, limit), schema))

    return await take_in(request, intake, limit, read, quick=LARGE_BYTES if coding is None else 0)


def _validate(raw: bytes | bytearray, schema: type[B]) -> tuple[B, Mapping[str, Any]]:
    document = json_object(raw)
    try:
        return schema.model_validate(document), document
    except ValidationError as failure:
        raise from_validation(failure) from None


def _check_type(value: str | None) -> None:
    media = (value or "application/json").partition(";")[0].strip().lower()
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        message = f"The body must be application/json, not {shown(media)}."
        if media == "application/x-www-form-urlencoded":  # what curl says about -d by itself
            message += " With curl, send -H 'content-type: application/json'."
        raise InferloomError(Reason.UNSUPPORTED_MEDIA_TYPE, message)


def json_object(raw: bytes | bytearray) -> dict[str, Any]:
    """The JSON object that a body is; whole numbers past 64 bits are floats in it.

    Raises:
        InferloomError: It is not one, or could be read in two ways.
    """
    if raw.startswith(BOM_UTF8):  # some clients write one; RFC 8259, section 8.1, leaves it to the reader
        raw = raw[len(BOM_UTF8) :]
    if not raw:
        raise InferloomError(Reason.INVALID_ARGUMENT, "The body is empty.")
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
    if (name := repeated_key(raw, body)) is not None:
        message = f"The body has the key '{shown(name)}' twice in one object." if name else UNCLEAR
        raise InferloomError(Reason.INVALID_ARGUMENT, message)
    return body
