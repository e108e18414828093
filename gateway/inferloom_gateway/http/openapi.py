"""The OpenAPI document: what FastAPI makes of the routes, and what holds for all of them."""

from collections.abc import Iterator
from typing import Any

from inferloom_gateway.access.endpoints import OPEN

Document = dict[str, Any]

_ABOUT = """An OpenAI-compatible API, and what vLLM, Jina and Cohere have beside it.

Bodies may have fields that are not described here: those are ignored and named in the response header
`x-inferloom-ignored`, or refused where the gateway is strict. A field that is null is as if it were absent.
With `stream`, an answer is server-sent events: the schema for `text/event-stream` is that of one, and the
data of the last is `[DONE]`; a stream that fails ends with the data of an error instead. Every error has one
form, whatever its status.

The same port answers the calls of `inferloom.v1.InferenceService` by Connect and gRPC-Web, at
`/inferloom.v1.InferenceService/Generate` and the like. Its `.proto` files describe them, and so does no part
of this document."""

_HEADERS = {
    "x-request-id": "The request's name: the caller's own, or one that was made.",
    "x-inferloom-worker": "The worker that answered; of several, their names with commas.",
    "x-inferloom-ignored": "Fields of the body that nobody knows, and what may have been meant.",
    "x-inferloom-notes": "What was done otherwise than the request may have meant.",
    "retry-after": "Seconds after which another try is sensible.",
    "x-should-retry": "false: a program is not to ask the same again by itself.",
}
_RATES = {
    "limit": "What the key may use in a minute.",
    "remaining": "What is left of that.",
    "reset": "When all of it is there again, such as 6m0s.",
}
_ALWAYS = ("x-request-id",)
_KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key. Needed where the gateway's operator has made keys.",
}


def complete(document: Document, schemas: Document) -> Document:
    """Add to a document what its routes do not say themselves: ``schemas`` that they only name, headers, keys
    and how all of it is to be read."""
    document["info"]["description"] = _ABOUT
    parts = document.setdefault("components", {})
    parts.setdefault("schemas", {}).update(schemas)
    parts["headers"] = dict(_headers())
    parts["securitySchemes"] = {"key": _KEY}
    document["security"] = [{}, {"key": []}]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            if path in OPEN:
                operation["security"] = []
            for response in operation["responses"].values():
                response["headers"] = {
                    name: {"$ref": f"#/components/headers/{name}"} for name in parts["headers"]
                }
    return document


def _headers() -> Iterator[tuple[str, Document]]:
    for name, said in _HEADERS.items():
        yield name, {"description": said, "required": name in _ALWAYS, "schema": {"type": "string"}}
    for kind in ("requests", "tokens"):
        for what, said in _RATES.items():
            number = {"type": "string"} if what == "reset" else {"type": "integer"}
            yield f"x-ratelimit-{what}-{kind}", {"description": said, "required": False, "schema": number}
