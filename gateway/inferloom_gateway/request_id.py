"""Names of requests, and the middleware that puts them on responses."""

import os
import re

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "x-request-id"

_KEY = "inferloom.request_id"
_RAW = HEADER.encode()
_VALID = re.compile(rb"[!-~]{1,128}")


def new_request_id() -> str:
    """Make a name that no other request has."""
    return os.urandom(12).hex()


def request_id_of(scope: Scope) -> str:
    """The name of the request that ``scope`` belongs to."""
    name: str = scope[_KEY]
    return name


class RequestIdMiddleware:
    """Names each request, by its caller's own name if that is 1 to 128 visible ASCII characters."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app with the name in the scope, and send the name with the response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == _RAW), b"")
        name = scope[_KEY] = given.decode() if _VALID.fullmatch(given) else new_request_id()

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = name
            await send(message)

        await self._app(scope, receive, named)
