"""Names of requests, and the middleware that puts them on responses."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inferloom_mesh.request_id import is_request_id, new_request_id

HEADER = "x-request-id"

_KEY = "inferloom.request_id"
_RAW = HEADER.encode()


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
        given = next((value for name, value in scope["headers"] if name == _RAW), b"").decode("latin-1")
        name = scope[_KEY] = given if is_request_id(given) else new_request_id()

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = name
            await send(message)

        await self._app(scope, receive, named)
