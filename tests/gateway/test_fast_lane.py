"""The fast lane, over an application that only says that it was asked."""

import httpx
import orjson
import pytest
from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from inferloom_gateway.http.disconnect import ClientDisconnectedError
from inferloom_gateway.http.errors import CLIENT_CLOSED_REQUEST
from inferloom_gateway.http.exchange import KEY, Exchange
from inferloom_gateway.http.fast_lane import FastLane
from inferloom_mesh.errors import invalid


async def behind(scope: Scope, receive: Receive, send: Send) -> None:
    """The application: everything is 418."""
    await Response(status_code=418)(scope, receive, send)


async def good(request: Request) -> Response:
    return Response(await request.body())


async def refusing(request: Request) -> Response:
    raise invalid("top_p", "No.")


async def left(request: Request) -> Response:
    raise ClientDisconnectedError


async def broken(request: Request) -> Response:
    raise ZeroDivisionError("internals")


@pytest.fixture
def http() -> httpx.AsyncClient:
    lane = FastLane(behind, {"/good": good, "/refusing": refusing, "/left": left, "/broken": broken})

    async def within(scope: Scope, receive: Receive, send: Send) -> None:
        scope[KEY] = Exchange(scope["method"], scope["path"], None, scope["headers"])
        await lane(scope, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(within), base_url="http://gateway")


async def test_a_post_to_its_path_is_answered_by_the_endpoint(http: httpx.AsyncClient) -> None:
    """The application is not asked."""
    assert (await http.post("/good", content=b"body")).content == b"body"


@pytest.mark.parametrize(("method", "path"), [("GET", "/good"), ("POST", "/good/"), ("POST", "/other")])
async def test_everything_else_is_the_applications(http: httpx.AsyncClient, method: str, path: str) -> None:
    """Another method or any other path."""
    assert (await http.request(method, path)).status_code == 418


async def test_a_refusal_is_an_openai_error(http: httpx.AsyncClient) -> None:
    """With its status and its parameter."""
    answer = await http.post("/refusing")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "top_p")


async def test_a_client_that_left_is_closed_without_an_error(http: httpx.AsyncClient) -> None:
    """Nobody reads it; it only shows in logs."""
    assert (await http.post("/left")).status_code == CLIENT_CLOSED_REQUEST


async def test_a_bug_is_logged_and_shows_nothing_of_itself(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets a server_error, the log the traceback."""
    answer = await http.post("/broken")
    error = orjson.loads(answer.content)["error"]
    assert (answer.status_code, error["type"]) == (500, "server_error")
    assert "internals" not in answer.text
    assert "ZeroDivisionError: internals" in caplog.text
