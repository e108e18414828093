"""Streams that outlive their connections, their clients' patience, and the gateway that makes them."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http import sse
from inferloom_gateway.streams import book, follower
from tests.patience import PATIENCE_S, until_async
from tests.wire.fake_worker import FakeWorker, completed, delta, finished, started
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.test_gateway_absences import gone
from tests.wire.test_gateway_migration import WORDS, worker

BODY: dict[str, Any] = {
    "model": "chat-model",
    "messages": [{"role": "user", "content": "Hi"}],
    "stream": True,
    "stream_options": {"include_usage": True},
}


def header(seconds: float = 20) -> dict[str, str]:
    """What asks for it."""
    return {"x-inferloom-resumable": str(seconds)}


def slow(gate: asyncio.Event, most: int = 2) -> Any:
    """A script that says some words, and the others when the gate opens."""

    async def script(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request, worker.id)
        done = len(request.resume.choices[0].token_ids) if request.resume.choices else 0
        for index in range(done, len(WORDS)):
            if index == most:
                await gate.wait()
            yield delta(WORDS[index], index=index)
        yield finished()
        yield completed(len(WORDS))

    return script


async def begin(mesh: GatewayMesh, events: int, **headers: str) -> tuple[str, list[str]]:
    """Read so many events of a new stream, and leave; its name, and they."""
    read: list[str] = []
    async with mesh.http.stream(
        "POST", "/v1/chat/completions", json=BODY, headers=header() | headers
    ) as response:
        assert response.status_code == 200, await response.aread()
        name = response.headers["x-inferloom-stream"]
        assert name == response.headers["x-request-id"]
        async for event in whole(response):
            read.append(event)
            if len(read) == events:
                break
    return name, read


async def whole(response: httpx.Response, waiting: asyncio.Event | None = None) -> AsyncIterator[str]:
    """Each event of a stream, as it is; ``waiting`` is set at the first comment."""
    event = ""
    async for line in response.aiter_lines():
        if line.startswith(":") and waiting is not None:
            waiting.set()
        if line:
            event += "" if line.startswith(":") else line + "\n"
        elif event:
            yield event
            event = ""


def _sql(store: Path, words: str) -> list[Any]:
    """Change what is in a store, or read it."""
    with closing(sqlite3.connect(store / "store.sqlite3")) as connection, connection:
        return connection.execute(words).fetchall()


async def rest(mesh: GatewayMesh, name: str, last: str | None) -> list[str]:
    """What comes behind an event."""
    headers = {} if last is None else {"last-event-id": last}
    async with mesh.http.stream("GET", f"/v1/streams/{name}", headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        return [event async for event in whole(response)]


def last_id(events: list[str]) -> str:
    """The id of the last of them."""
    return events[-1].partition("\n")[0].removeprefix("id: ")


async def test_a_client_that_comes_back_goes_on() -> None:
    """Behind the event that it names, with the same ids; from the beginning where it names none. Meanwhile
    the worker went on."""
    gate = asyncio.Event()
    first = worker("a")
    first.script = slow(gate)
    async with gateway_mesh(first) as mesh:
        name, read = await begin(mesh, 3)
        gate.set()
        behind = await rest(mesh, name, last_id(read))
        every = await rest(mesh, name, None)
        nothing = await rest(mesh, name, "999")
    assert [*read, *behind] == every
    assert [event.partition("\n")[0] for event in every[:-1]] == [f"id: {n}" for n in range(len(every) - 1)]
    assert (every[-1], nothing) == ("data: [DONE]\n", ["data: [DONE]\n"])
    assert "time" in "".join(every)
    assert len(first.requests) == 1


async def test_another_gateway_goes_on_where_one_was_killed(tmp_path: Path) -> None:
    """It asks a worker for what is missing, and every event is as it would have been."""
    gate, never = asyncio.Event(), asyncio.Event()
    one, two = worker("a"), worker("b")
    one.script, two.script = slow(never), slow(gate)
    gate.set()
    store = tmp_path / "store"
    async with gateway_mesh(one, store=store) as killed, gateway_mesh(two, store=store) as mesh:
        name, read = await begin(killed, 3)
        with sqlite3.connect(store / "store.sqlite3") as connection:  # as if its process were dead
            connection.execute("UPDATE streams SET owner = 'dead', claimed_until = 0")
        behind = await rest(mesh, name, last_id(read))
        every = await rest(mesh, name, None)
    assert [*read, *behind] == every
    assert every[-1] == "data: [DONE]\n"
    assert list(two.requests[0].resume.choices[0].token_ids) == [0, 1]


@pytest.mark.parametrize("doors", [1, 2])
async def test_two_readers_of_a_stream_whose_worker_is_away(
    doors: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One goes on with it, for as long as its worker is away, and both read it to its end; meanwhile neither
    is silent. Whether they read at one gateway or at two."""
    gate = asyncio.Event()
    one, two = worker("a"), worker("b")
    one.script, two.script = slow(asyncio.Event()), slow(gate)
    gate.set()
    store = tmp_path / "store"
    monkeypatch.setattr(book, "RENEWED_S", 0.1)
    monkeypatch.setattr(follower, "_WANTED_S", 0.1)
    monkeypatch.setattr(sse, "SILENCE_S", 0.1)
    async with AsyncExitStack() as stack:
        killed = await stack.enter_async_context(gateway_mesh(one, store=store))
        meshes = [
            await stack.enter_async_context(gateway_mesh(*own, store=store, absent_wait_s=PATIENCE_S))
            for own in ([two], [])[:doors]
        ]
        for mesh in meshes:
            mesh.registry.put(two.registered())
            await mesh.lists("chat-model", "org/embedder")
        name, read = await begin(killed, 3)
        await two.kill()
        for mesh in meshes:
            mesh.registry.remove("b")
            await gone(mesh)
        _sql(store, "UPDATE streams SET owner = 'dead', claimed_until = 0")  # as if its process were dead
        shown = [asyncio.Event(), asyncio.Event()]

        async def goes_on(place: int) -> list[str]:
            path, headers = f"/v1/streams/{name}", {"last-event-id": last_id(read)}
            async with meshes[place % doors].http.stream("GET", path, headers=headers) as response:
                return [event async for event in whole(response, shown[place])]

        reading = [asyncio.create_task(goes_on(place)) for place in (0, 1)]
        for each in shown:
            await each.wait()
        claimed = partial(_sql, store, "SELECT owner, claimed_until FROM streams")
        [(owner, claim)] = claimed()
        [(still, _)] = await until_async(claimed, "a renewal", lambda seen: seen[0][1] > claim)
        assert still == owner
        if doors == 1:
            monkeypatch.setattr(book, "RENEWED_S", PATIENCE_S)
            await asyncio.sleep(0.3)  # the last renewal
            _sql(store, "UPDATE streams SET claimed_until = 0")  # as if the store had not taken them for long
            await asyncio.sleep(0.7)  # the other reader looks
        await two.start()
        for mesh in meshes:
            mesh.registry.put(two.registered(epoch=2))
        first, second = await asyncio.gather(*reading)
    assert first == second
    assert (first[-1], "time" in "".join(first)) == ("data: [DONE]\n", True)
    assert len(two.requests) == 1


async def test_what_nobody_comes_back_for_is_given_up() -> None:
    """After the seconds that were asked for; its slot is free then, and the stream is gone."""
    first = worker("a")
    first.script = slow(asyncio.Event())
    async with gateway_mesh(first) as mesh:
        name, _ = await begin(mesh, 2, **header(0.5))
        async with asyncio.timeout(PATIENCE_S):
            await first.cancelled.wait()
        gone = await mesh.http.get(f"/v1/streams/{name}")
    assert (gone.status_code, gone.json()["error"]["param"]) == (404, "id")


@pytest.mark.parametrize("name", ["nobody", "%F4%A0%80%80", "a%0D%0Ax-evil:%201", "a%20b", "x" * 129])
async def test_a_name_that_no_stream_has(name: str) -> None:
    """Is 404, whatever it is made of, and gets into no header."""
    async with gateway_mesh(FakeWorker("worker-1")) as mesh:
        answer = await mesh.http.get(f"/v1/streams/{name}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "id")
    assert "x-evil" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "change"),
    [
        (header(0), {}),
        ({"x-inferloom-resumable": "soon"}, {}),
        (header(9999), {}),
        (header(), {"stream": False, "stream_options": None}),
        (header(), {"store": True}),
    ],
)
async def test_what_cannot_be_resumable_is_refused(headers: dict[str, str], change: dict[str, Any]) -> None:
    """By name."""
    async with gateway_mesh(worker("a")) as mesh:
        answer = await mesh.http.post("/v1/chat/completions", json={**BODY, **change}, headers=headers)
        odd = await mesh.http.get("/v1/streams/nobody", headers={"last-event-id": "x"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] in ("x-inferloom-resumable", "store")
    assert (odd.status_code, odd.json()["error"]["param"]) == (400, "last-event-id")


async def test_a_gateway_that_keeps_nothing_says_so() -> None:
    """The request would be no other than without the header, so it is refused."""
    async with gateway_mesh(worker("a"), no_store=True) as mesh:
        answer = await mesh.http.post("/v1/chat/completions", json=BODY, headers=header())
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-inferloom-resumable")
