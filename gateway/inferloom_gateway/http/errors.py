"""Errors as OpenAI error objects."""

import math
from collections.abc import Mapping

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from inferloom_gateway.http.disconnect import ClientDisconnectedError
from inferloom_gateway.http.exchange import KEY, exchange_of
from inferloom_gateway.http.json_line import json_line
from inferloom_gateway.http.paths import Paths
from inferloom_gateway.http.wording import complaint
from inferloom_mesh.errors import InferloomError, Reason, server_error, shown
from inferloom_mesh.suggestion import nearest

_HTTP = {
    404: Reason.NOT_FOUND,
    405: Reason.METHOD_NOT_ALLOWED,
    413: Reason.REQUEST_TOO_LARGE,
    415: Reason.UNSUPPORTED_MEDIA_TYPE,
}

_ELSEWHERE = {"input": "/v1/responses", "prompt": "/v1/completions"}
"""Where bodies without messages belong, by what they have."""

SHOULD_RETRY = "x-should-retry"

CLIENT_CLOSED_REQUEST = 499
"""Status of a response that nobody waits for any more; it only shows in logs."""


def render(error: InferloomError) -> bytes:
    """The JSON body that tells an OpenAI client about an error."""
    row = error.row
    return json_line(
        {"error": {"message": error.message, "type": row.type, "param": error.param, "code": row.code}}
    )


def head_of(error: InferloomError, length: int) -> list[tuple[bytes, bytes]]:
    """The headers of a response whose body of ``length`` bytes tells about an error, for where there is no
    application."""
    headers = {"content-type": "application/json", "content-length": str(length), **advice(error)}
    return [(name.encode(), value.encode()) for name, value in headers.items()]


class ErrorResponse(Response):
    """The response that tells of an error; its exchange knows of it too."""

    media_type = "application/json"

    def __init__(self, error: InferloomError, headers: Mapping[str, str]) -> None:
        super().__init__(render(error), error.row.http, headers)
        self._reason = error.reason

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if (exchange := scope.get(KEY)) is not None:  # an application may be used without the stack
            exchange.error = self._reason
        await super().__call__(scope, receive, send)


class _NobodyWaits(Response):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (exchange := scope.get(KEY)) is not None:
            exchange.left = True
        await super().__call__(scope, receive, send)


def response(error: InferloomError, headers: Mapping[str, str] | None = None) -> Response:
    """The response to a request that failed before its first byte."""
    return ErrorResponse(error, {**(headers or {}), **advice(error)})


def advice(error: InferloomError) -> dict[str, str]:
    """The headers that say what to do about an error: when another try is sensible, whether a program may
    make it by itself, and how to come in."""
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = _seconds(error.retry_after)
    if error.final:  # what OpenAI's SDKs obey
        headers[SHOULD_RETRY] = "false"
    if error.row.http == 401:  # RFC 9110 wants to be told how (RFC 6750's scheme)
        headers["www-authenticate"] = 'Bearer realm="inferloom"'
    return headers


def _seconds(delay: float) -> str:
    return str(max(1, math.ceil(delay)))


def nobody_waits() -> Response:
    """The response to a request whose client has left."""
    return _NobodyWaits(status_code=CLIENT_CLOSED_REQUEST)


def from_validation(failure: ValidationError | RequestValidationError, within: str = "") -> InferloomError:
    """The error for the first thing that is wrong with a query, a body, or its part ``within``."""
    first = failure.errors()[0]
    place = first["loc"][1:] if isinstance(failure, RequestValidationError) else first["loc"]
    param = _path((within, *place) if within else place)
    return InferloomError(Reason.INVALID_ARGUMENT, _sentence(first, param), param=param or None)


def install(app: FastAPI, paths: Paths) -> None:
    """Let every error of ``app``, whose routes are ``paths``, leave as an OpenAI error object."""

    @app.exception_handler(InferloomError)
    async def _ours(request: Request, failure: InferloomError) -> Response:
        return response(failure)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, failure: RequestValidationError) -> Response:
        return response(from_validation(failure))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, failure: HTTPException) -> Response:
        reason = _HTTP.get(failure.status_code, Reason.INVALID_ARGUMENT)
        exchange, headers = exchange_of(request.scope), dict(failure.headers or {})
        if reason is Reason.METHOD_NOT_ALLOWED and not (methods := paths.methods(exchange.path)):
            reason, headers = Reason.NOT_FOUND, {}
        if reason is Reason.METHOD_NOT_ALLOWED:
            headers["Allow"] = allowed = ", ".join(methods)
            if exchange.method == "OPTIONS":  # RFC 9110, 9.3.7: so do proxies look whether a server lives
                return Response(status_code=204, headers={"Allow": f"{allowed}, OPTIONS"})
            asked = f"{shown(exchange.method)} {shown(exchange.path)}"
            message = f"Method not allowed: {asked}; this path takes {allowed}."
        else:
            message = paths.missing(exchange.method, exchange.path)
        return response(InferloomError(reason, message), headers)

    @app.exception_handler(ClientDisconnectedError)
    async def _gone(request: Request, failure: ClientDisconnectedError) -> Response:
        return nobody_waits()

    @app.exception_handler(Exception)
    async def _bug(request: Request, failure: Exception) -> Response:
        return response(server_error())  # the server logs the failure itself


def _path(loc: tuple[int | str, ...]) -> str:
    path = ""
    for step in loc:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


def _sentence(error: ErrorDetails, param: str) -> str:
    if error["type"] == "missing":
        return f"Missing required parameter: '{param}'.{_meant(error)}"
    if not param:
        return f"The body {complaint(error)}."
    return f"Invalid '{param}': {complaint(error)}."


def _meant(error: ErrorDetails) -> str:
    """Which field that is there may be the one that is missing."""
    given = error["input"]
    if not isinstance(given, dict) or not error["loc"]:
        return ""
    if error["loc"] == ("messages",) and (other := next(filter(_ELSEWHERE.get, given), None)) is not None:
        return f" A body with '{other}' is for POST {_ELSEWHERE[other]}."
    near = nearest(str(error["loc"][-1]), (key for key in given if isinstance(key, str)))
    return "" if near is None else f" Is '{shown(near)}' meant to be it?"
