"""Holds answers to the OpenAPI document."""

import re
from functools import cache
from typing import Any

import httpx
import orjson
from jsonschema import Draft202012Validator

from inferloom_gateway.http.app import routes
from tests.wire import sdk_types

PAGES = ("/", "/docs", "/openapi.json")
"""Paths that are no part of the API."""


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document, as any gateway gives it."""
    made: dict[str, Any] = orjson.loads(orjson.dumps(routes().openapi()))
    return made


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    """Every operation, with its path and its method."""
    return [
        (path, method, operation)
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    ]


@cache
def _places() -> list[tuple[re.Pattern[str], str]]:
    """The paths as patterns, those without parameters first."""
    paths = sorted(document()["paths"], key=lambda path: ("{" in path, -len(path)))
    return [(re.compile(re.sub(r"\\\{\w+\\\}", "(.+)", re.escape(path)) + "/?"), path) for path in paths]


def place(path: str, method: str) -> str | None:
    """The documented path of a request; None: there is none."""
    for pattern, template in _places():
        if pattern.fullmatch(path) and method.lower() in document()["paths"][template]:
            return template
    return None


def operation(method: str, path: str) -> dict[str, Any] | None:
    """What is documented of a request; None: nothing."""
    template = place(path, method)
    return None if template is None else dict(document()["paths"][template][method.lower()])


@cache
def _validator(schema: bytes) -> Any:
    whole = {**orjson.loads(schema), "components": document()["components"]}
    return Draft202012Validator(whole)


def holds(schema: dict[str, Any], value: Any) -> None:
    """Fail unless a value is what a schema of the document says."""
    found = [
        f"{error.json_path}: {error.message[:200]}"
        for error in _validator(orjson.dumps(schema)).iter_errors(value)
    ]
    assert not found, found


def schema_of(described: dict[str, Any], status: int, media: str) -> dict[str, Any]:
    """What an operation's answer of a status is said to be."""
    responses = described["responses"]
    answer = responses.get(str(status), responses["default"])
    assert media in answer.get("content", {}), f"{status} is documented without {media}"
    schema: dict[str, Any] = answer["content"][media]["schema"]
    return schema


async def check(response: httpx.Response) -> None:
    """An event hook of a client: fail where a JSON answer that is sent whole is not as documented, or leaves
    something over in the types of OpenAI's SDK."""
    media = response.headers.get("content-type", "").partition(";")[0]
    path = re.sub("/{2,}", "/", response.request.url.path)
    whole = "content-length" in response.headers and response.request.method != "HEAD"
    if media != "application/json" or not whole or path in PAGES:
        return
    if path.startswith(("/inferloom.v1.", "/grpc.health.v1.")):
        return  # the contract's own form
    if path.startswith("/console/data/"):
        return  # between the console's page and its gateway
    described = operation(response.request.method, path)
    if described is None:
        assert response.status_code >= 400, f"{path} is not documented"
        schema = {"$ref": "#/components/schemas/ErrorAnswer"}
    else:
        schema = schema_of(described, response.status_code, media)
    value = orjson.loads(await response.aread())
    holds(schema, value)
    method = response.request.method
    if response.status_code == 200 and (template := place(path, method)) is not None:
        sdk_types.body(method.lower(), template, value)
