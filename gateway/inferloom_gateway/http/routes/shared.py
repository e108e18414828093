"""What the endpoints share."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson
from fastapi import Request, Response

from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http.body import read_body
from inferloom_gateway.http.schema.base import Body
from inferloom_gateway.http.unknown_fields import FieldPolicy

B = TypeVar("B", bound=Body)
T = TypeVar("T")


def gateway_of(request: Request) -> Gateway:
    """The gateway that serves this request."""
    gateway: Gateway = request.app.state.gateway
    return gateway


async def body_of(request: Request, schema: type[B], translate: Callable[[B], T]) -> tuple[T, dict[str, str]]:
    """What ``translate`` makes of the validated body, perhaps on another thread, and the headers that tell
    what of the body was ignored. Raises InferloomError."""

    policy: FieldPolicy = request.app.state.fields

    def read(body: B, document: Mapping[str, Any]) -> tuple[T, dict[str, str]]:
        ignored = policy.headers(schema.endpoint, document)
        return translate(body), ignored

    return await read_body(request, schema, gateway_of(request).settings.max_body_bytes, read)


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response with a JSON body."""
    return Response(orjson.dumps(value), status, headers, media_type="application/json")


def documents(schema: type[Body], **examples: dict[str, Any]) -> dict[str, Any]:
    """The part of an endpoint's OpenAPI entry that describes its body, which it reads by itself."""
    content = {
        "schema": {"$ref": f"#/components/schemas/{schema.__name__}"},
        "examples": {name: {"value": value} for name, value in examples.items()},
    }
    return {"requestBody": {"required": True, "content": {"application/json": content}}}
