"""What the endpoints share."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson
from fastapi import Request, Response
from pydantic import BaseModel

from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http.body import read_body
from inferloom_gateway.http.schema.answers import ErrorAnswer
from inferloom_gateway.http.schema.base import Body
from inferloom_gateway.http.unknown_fields import FieldPolicy

B = TypeVar("B", bound=Body)
T = TypeVar("T")


def gateway_of(request: Request) -> Gateway:
    """The gateway that serves this request."""
    gateway: Gateway = request.app.state.gateway
    return gateway


async def translate_off_loop(
    request: Request, schema: type[B], translate: Callable[[B], T], limit: int | None = None
) -> tuple[T, dict[str, str]]:
    """Validate the body, and run ``translate`` on it, on the intake's thread if it is large.

    Args:
        request: Its body has not been read.
        schema: What the body must be.
        translate: Touches nothing that belongs to the event loop.
        limit: The endpoint's own bound on its body in bytes, where that is below ``max_body_bytes``.

    Returns:
        What ``translate`` makes of it, and the headers that tell what of the body was ignored.

    Raises:
        InferloomError: The body is refused.
    """

    state = request.app.state
    policy: FieldPolicy = state.fields

    def read(body: B, document: Mapping[str, Any]) -> tuple[T, dict[str, str]]:
        ignored = policy.headers(schema.endpoint, document)
        return translate(body), ignored

    most = state.gateway.settings.max_body_bytes
    return await read_body(request, state.intake, schema, most if limit is None else min(most, limit), read)


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response with a JSON body."""
    return Response(orjson.dumps(value), status, headers, media_type="application/json")


ERRORS: dict[int | str, dict[str, Any]] = {
    "default": {"model": ErrorAnswer, "description": "An error; its status says of what kind."}
}
"""What every router says of answers that are errors."""


def answers(model: type[BaseModel], event: type[BaseModel] | None = None) -> dict[int | str, dict[str, Any]]:
    """What an endpoint says of its answer: one JSON object, or also, with ``stream``, events of JSON."""
    content = {"text/event-stream": {"schema": _event(_ref(event))}} if event is not None else {}
    return {200: {"model": model, "content": content}}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _event(data: dict[str, str]) -> dict[str, Any]:
    """One server-sent event, whose data is JSON of a schema."""
    said = "JSON; of the last event of a chat or text completion, [DONE]."
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["data"],
        "properties": {
            "id": {**text, "description": "Number of the event."},
            "event": {**text, "description": "Kind of the event, where there are several."},
            "data": {
                **text,
                "description": said,
                "anyOf": [
                    {"const": "[DONE]"},
                    {"contentMediaType": "application/json", "contentSchema": data},
                ],
            },
        },
    }


def documents(schema: type[Body], **examples: dict[str, Any]) -> dict[str, Any]:
    """The part of an endpoint's OpenAPI entry that describes its body, which it reads by itself."""
    content = {
        "schema": _ref(schema),
        "examples": {name: {"value": value} for name, value in examples.items()},
    }
    return {"requestBody": {"required": True, "content": {"application/json": content}}}
