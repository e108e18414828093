"""The HTTP stack, around an application that answers with bytes or with events."""

from collections.abc import AsyncGenerator
from contextlib import ExitStack

import httpx
import pytest
from fastapi import Response
from starlette.types import Receive, Scope, Send

from inferloom_gateway.http.cors import Cors
from inferloom_gateway.http.event_stream import EventStream
from inferloom_gateway.http.exchange import Exchange, RawHeaders, exchange_of
from inferloom_gateway.http.naming import Naming
from inferloom_gateway.http.stack import Layer, Stack, plain_path
from inferloom_mesh.errors import InferloomError, invalid


class Seen(Layer):
    """A layer that writes down what it sees."""

    def __init__(self, name: str, log: list[str], answer: Response | InferloomError | None = None) -> None:
        self._name, self._log, self._answer = name, log, answer

    def begin(self, exchange: Exchange) -> Response | None:
        self._log.append(f"{self._name} begin")
        if isinstance(self._answer, InferloomError):
            raise self._answer
        return self._answer

    def head(self, exchange: Exchange, headers: RawHeaders) -> None:
        self._log.append(f"{self._name} head {exchange.status}")
        headers.append((b"x-" + self._name.encode(), b"yes"))

    def end(self, exchange: Exchange) -> None:
        self._log.append(f"{self._name} end")

    def frame(self, exchange: Exchange, data: bytes) -> None:
        self._log.append(f"{self._name} frame {data.decode()}")


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Streams two events for /events; raises for /broken; says the path and the method otherwise."""

    async def events(stack: ExitStack) -> AsyncGenerator[bytes, None]:
        async def pieces() -> AsyncGenerator[bytes, None]:
            yield b"one\n\n"
            yield b"two\n\n"
            if "fail" in scope["query_string"].decode():
                raise invalid("p", "No.")

        return pieces()

    exchange_of(scope).worker = "w1"
    if scope["path"] == "/broken":
        raise ZeroDivisionError
    if scope["path"] == "/events":
        await EventStream(events, lambda error: error.message.encode(), {})(scope, receive, send)
    else:
        await Response(scope["path"] + " " + scope["method"])(scope, receive, send)


def client(*layers: Layer, listeners: tuple[Seen, ...] = ()) -> httpx.AsyncClient:
    """Speaks to the stack."""
    transport = httpx.ASGITransport(Stack(app, layers, listeners))
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")


async def test_layers_see_beginning_head_and_end_in_their_order() -> None:
    """The first is the outermost; heads and ends come from the inside."""
    log: list[str] = []
    answer = await client(Seen("a", log), Seen("b", log)).get("/x")
    assert log == ["a begin", "b begin", "b head 200", "a head 200", "b end", "a end"]
    assert answer.headers["x-a"] == answer.headers["x-b"] == "yes"


@pytest.mark.parametrize("early", [Response("early", 418), invalid("p", "No.")])
async def test_a_layer_may_answer_by_itself(early: Response | InferloomError) -> None:
    """What is further in is not asked, and those that began see it end."""
    log: list[str] = []
    answer = await client(Seen("a", log), Seen("b", log, early), Seen("c", log)).get("/x")
    assert answer.status_code == (418 if isinstance(early, Response) else 400)
    status = answer.status_code
    assert log == ["a begin", "b begin", f"b head {status}", f"a head {status}", "b end", "a end"]


async def test_listeners_are_told_once_per_frame() -> None:
    """Of the events of a stream, between the head and the end; layers are not in their way."""
    log: list[str] = []
    seen = Seen("a", log)
    answer = await client(seen, listeners=(seen,)).get("/events")
    one, two = "id: 0\none\n\n", "id: 1\ntwo\n\n"
    assert answer.text == one + two
    assert log == ["a begin", "a head 200", f"a frame {one}", f"a frame {two}", "a end"]
    log.clear()
    assert (await client(seen, listeners=(seen,)).get("/events?fail")).text == f"{one}{two}No."
    await client(seen, listeners=(seen,)).get("/x")
    assert [line for line in log if "frame" in line] == [f"a frame {one}", f"a frame {two}"]


async def test_an_end_is_seen_whatever_happens() -> None:
    """Also when the application breaks down."""
    log: list[str] = []
    with pytest.raises(ZeroDivisionError):
        await client(Seen("a", log)).get("/broken")
    assert log == ["a begin", "a end"]


async def test_a_head_request_is_a_get_without_a_body() -> None:
    """The application sees GET; layers see HEAD."""
    answer = await client().head("/x//")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "6")


async def test_the_names_of_request_and_worker_are_sent() -> None:
    """A caller's own name, or one that is made; the worker if one answered."""
    http = client(Naming())
    answer = await http.get("/x", headers={"x-request-id": "mine"})
    assert (answer.headers["x-request-id"], answer.headers["x-inferloom-worker"]) == ("mine", "w1")
    assert len((await http.get("/events", headers={"x-request-id": "a b"})).headers["x-request-id"]) == 24


@pytest.mark.parametrize(
    ("origins", "allowed"), [(["*"], "*"), (["http://a"], "http://a"), (["http://b"], None)]
)
async def test_cors_lets_the_named_origins_read(origins: list[str], allowed: str | None) -> None:
    """In preflights, also those of a private network, and in responses; others see no header."""
    http = client(Cors(origins, ["x-request-id"]))
    origin = {"origin": "http://a"}
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    preflight = await http.options(
        "/x", headers={**origin, **asked, "access-control-request-private-network": "true"}
    )
    assert preflight.status_code == (400 if allowed is None else 200)
    for answer in (preflight, await http.get("/x", headers=origin)):
        assert answer.headers.get("access-control-allow-origin") == allowed
    assert preflight.headers["access-control-allow-headers"] == "authorization"
    assert preflight.headers["access-control-allow-private-network"] == "true"
    assert "access-control-allow-origin" not in (await http.get("/x")).headers


@pytest.mark.parametrize(
    ("path", "plain"),
    [("/", "/"), ("//", "/"), ("/a", "/a"), ("/a/", "/a"), ("//a///b//", "/a/b"), ("", "")],
)
def test_paths_are_made_plain(path: str, plain: str) -> None:
    """Single slashes, and none at the end."""
    assert plain_path(path) == plain
