"""The way of the busiest endpoints: straight to their handlers, past routing and its layers."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from inferloom_gateway.http import errors
from inferloom_gateway.http.disconnect import ClientDisconnectedError
from inferloom_gateway.http.exchange import exchange_of
from inferloom_mesh.errors import InferloomError, server_error

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]

_MARK = "answers_in_the_fast_lane"


def fast(endpoint: Endpoint) -> Endpoint:
    """Mark a POST endpoint with a path of its own as one of the busiest; below its router's decorator."""
    setattr(endpoint, _MARK, True)
    return endpoint


def fast_routes(routers: Iterable[APIRouter]) -> dict[str, Endpoint]:
    """The marked endpoints of ``routers`` by their paths."""
    return {
        route.path: route.endpoint
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute) and hasattr(route.endpoint, _MARK)
    }


class _Asked(Request):
    """A request whose headers are those of its exchange, made once."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        super().__init__(scope, receive)
        self._headers = exchange_of(scope).headers


class FastLane:
    """Answers POST requests to some exact paths by itself, and leaves all others to an application.

    The endpoints are the application's own, and answer no differently there; matching, dependencies and
    the middleware around them cost more than all that a short completion needs besides.

    Args:
        app: Answers everything else.
        endpoints: The handler of each path.
    """

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, Endpoint]) -> None:
        self._app = app
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        posted = scope["type"] == "http" and scope["method"] == "POST"
        endpoint = self._endpoints.get(scope["path"]) if posted else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        scope["app"] = self._app
        try:
            response = await endpoint(_Asked(scope, receive))
            # A stream that cannot begin fails here, with nothing sent.
            await response(scope, receive, send)
        except InferloomError as failure:
            await errors.response(failure)(scope, receive, send)
        except ClientDisconnectedError:
            await errors.nobody_waits()(scope, receive, send)
        except Exception:  # a bug ends its own request and nothing else
            log.exception("unexpected failure in %s", scope["path"])
            await errors.response(server_error())(scope, receive, send)
