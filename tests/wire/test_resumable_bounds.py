"""How many resumable streams there may be, and when that is found out."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.access.api_key import Limits
from inferloom_gateway.streams import book
from inferloom_mesh.errors import overloaded
from tests.patience import until_async
from tests.wire.fake_worker import FakeWorker, refuse
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.test_gateway_migration import worker
from tests.wire.test_keys import SECRET, Keys
from tests.wire.test_resumable_prompts import BODY, held, killed
from tests.wire.test_resumable_streams import BODY as CHAT
from tests.wire.test_resumable_streams import header, whole

PROMPTS = [str(number) for number in range(64)]


async def post(mesh: GatewayMesh, prompts: list[str], key: str = "") -> httpx.Response:
    """Ask for a stream, and read it to its end."""
    shown = {"authorization": f"Bearer {key}"} if key else {}
    body = BODY | {"prompt": prompts, "n": 1}
    return await mesh.http.post("/v1/completions", json=body, headers=header() | shown)


async def leave(mesh: GatewayMesh, prompts: list[str], key: str = "") -> None:
    """Begin a stream, and leave it."""
    shown = {"authorization": f"Bearer {key}"} if key else {}
    body = BODY | {"prompt": prompts, "n": 1}
    async with mesh.http.stream("POST", "/v1/completions", json=body, headers=header() | shown) as answer:
        assert answer.status_code == 200, await answer.aread()


async def test_a_tenant_has_as_many_prompts_as_are_answered_at_once(tmp_path: Path) -> None:
    """Each of a list counts; what is over does not. One more is refused before a worker sees it, and more
    than there can be for good; another tenant is not concerned."""
    keys, never, first = Keys(tmp_path), asyncio.Event(), worker("a")
    key, other = keys.make(), keys.make("other")
    async with gateway_mesh(first, keys=keys.place, mesh_secret=SECRET) as mesh:
        many = await post(mesh, [*PROMPTS, "one"], key)
        first.script = held(never, {})
        for _ in range(2):
            assert (await post(mesh, PROMPTS, key)).status_code == 200  # which ends
        first.script = held(never, dict.fromkeys(PROMPTS, 0))
        await leave(mesh, PROMPTS[:63], key)
        await first.runs(63)
        asked = len(first.requests)
        full = await post(mesh, PROMPTS[:2], key)
        assert len(first.requests) == asked
        await leave(mesh, PROMPTS[:1], key)
        await leave(mesh, PROMPTS[:2], other)
    assert (many.status_code, many.json()["error"]["param"]) == (400, "x-inferloom-resumable")
    assert (full.status_code, full.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert "of 64 at most" in full.json()["error"]["message"]
    assert full.headers["retry-after"]


async def test_without_keys_nobody_is_held_to_what_one_may() -> None:
    """All that share a gateway are one tenant then."""
    first = worker("a")
    first.script = held(asyncio.Event(), dict.fromkeys(PROMPTS, 0))
    async with gateway_mesh(first) as mesh:
        for _ in range(3):
            await leave(mesh, PROMPTS)
        await first.runs(3 * 64)


async def test_a_name_that_is_taken_asks_no_worker() -> None:
    """And one whose stream no worker accepted is free again."""
    first, named = worker("a"), header() | {"x-request-id": "mine"}
    async with gateway_mesh(first) as mesh:
        script, first.script = first.script, refuse(overloaded("Full."))
        full = await mesh.http.post("/v1/chat/completions", json=CHAT, headers=named)
        gone = await mesh.http.get("/v1/streams/mine")
        first.script = script
        made = await mesh.http.post("/v1/chat/completions", json=CHAT, headers=named)
        asked = len(first.requests)
        taken = await mesh.http.post("/v1/chat/completions", json=CHAT, headers=named)
        assert len(first.requests) == asked
    assert [each.status_code for each in (full, gone, made, taken)] == [503, 404, 200, 409]


async def test_a_stream_whose_gateway_died_goes_on_for_a_key_without_requests(tmp_path: Path) -> None:
    """It was let in when it was asked for; what is used of it is counted."""
    keys, never, store = Keys(tmp_path), asyncio.Event(), tmp_path / "store"
    key = keys.make(limits=Limits(requests_per_minute=1))
    shown = {"authorization": f"Bearer {key}"}
    one, two = worker("a"), worker("b")
    one.script = held(never, {"one": 1})
    access: dict[str, Any] = {"keys": keys.place, "mesh_secret": SECRET, "store": store}
    async with gateway_mesh(one, **access) as dies, gateway_mesh(two, **access) as mesh:
        async with dies.http.stream(
            "POST", "/v1/completions", json=BODY | {"prompt": "one", "n": 1}, headers=header() | shown
        ) as answer:
            name = answer.headers["x-inferloom-stream"]
            assert await anext(whole(answer))
        killed(dies)
        used_up = await mesh.http.post("/v1/chat/completions", json=CHAT, headers=shown)
        closed = await mesh.http.post("/v1/chat/completions", json=CHAT, headers=shown)
        rest = await mesh.http.get(f"/v1/streams/{name}", headers=shown)
    assert (used_up.status_code, closed.status_code) == (200, 429)
    assert rest.text.endswith("data: [DONE]\n\n")
    (row,) = keys.store.usage("2000-01-01")
    assert row.requests == 3


async def test_a_stream_that_waits_for_a_worker_is_its_gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim is renewed, and what computes it is known once there are events."""
    monkeypatch.setattr(book, "RENEWED_S", 0.05)
    gate, first = asyncio.Event(), worker("a")
    script: Any = first.script

    async def late(at: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        await gate.wait()
        async for event in script(at, request):
            if event.HasField("started"):
                event.started.compute_hash = "c" * 16
            yield event

    first.script = late
    async with gateway_mesh(first) as mesh:

        async def kept() -> Any:
            with closing(sqlite3.connect(mesh.store / "store.sqlite3")) as connection:
                return connection.execute("SELECT claimed_until, compute_hash FROM streams").fetchone()

        async def read() -> list[str]:
            async with mesh.http.stream(
                "POST", "/v1/chat/completions", json=CHAT, headers=header()
            ) as answer:
                return [event async for event in whole(answer)]

        await mesh.http.get("/v1/streams/nobody")  # which makes the store
        reading = asyncio.create_task(read())
        claimed, computed = await until_async(kept, "the stream", lambda seen: seen is not None)
        await until_async(kept, "a renewal", lambda seen: seen[0] > claimed)
        gate.set()
        events = await reading
        assert (computed, (await kept())[1]) == ("", "c" * 16)
    assert events[-1] == "data: [DONE]\n"
