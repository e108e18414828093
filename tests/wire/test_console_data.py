"""The console's data over HTTP, with keys and without."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from inferloom_gateway.console import live
from inferloom_mesh.secret import MeshSecret
from tests.patience import PATIENCE_S
from tests.wire.fake_worker import FakeWorker
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.test_keys import SECRET, Keys, follows

HELLO = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """A store without keys."""
    return Keys(tmp_path)


@pytest.fixture
async def keyed(keys: Keys, tmp_path: Path) -> AsyncIterator[GatewayMesh]:
    """A gateway that asks for keys."""
    audit = tmp_path / "audit.jsonl"
    async with gateway_mesh(FakeWorker(), keys=keys.place, mesh_secret=SECRET, audit_log=audit) as mesh:
        yield mesh


def bearer(key: str) -> dict[str, str]:
    """Shows a key."""
    return {"authorization": f"Bearer {key}"}


async def ask(mesh: GatewayMesh, method: str, path: str, key: str = "", **more: Any) -> httpx.Response:
    """Ask for some of the data."""
    return await mesh.http.request(method, f"/console/data{path}", headers=bearer(key) if key else {}, **more)


async def first_event(mesh: GatewayMesh, headers: dict[str, str]) -> str:
    """The first line of the live picture."""
    async with (
        asyncio.timeout(PATIENCE_S),
        mesh.http.stream("GET", "/console/data/live", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            return line
    return ""


async def test_the_page_shows_itself_to_all_and_its_data_to_keys_that_name_it(
    keyed: GatewayMesh, keys: Keys
) -> None:
    """The mesh's operator sees it too."""
    for path in ("/console", "/console/app.js", "/console/"):
        assert (await keyed.http.get(path)).status_code == 200
    assert (await keyed.http.get("/console/data/live")).status_code == 401
    plain, looks, manages = keys.make(), keys.make(endpoints=("console",)), keys.make(endpoints=("keys",))
    await follows(keyed, plain)
    assert (await ask(keyed, "GET", "/live", plain)).status_code == 403
    assert (await ask(keyed, "GET", "/live", manages)).status_code == 403
    assert await first_event(keyed, bearer(looks)) == "event: whole"
    assert await first_event(keyed, dict(MeshSecret(SECRET).metadata)) == "event: whole"
    assert (await ask(keyed, "GET", "/keys", looks)).status_code == 403
    assert (await ask(keyed, "GET", "/keys", manages)).status_code == 200


async def test_keys_are_made_and_revoked(keyed: GatewayMesh, keys: Keys, tmp_path: Path) -> None:
    """What was made opens at once, what was revoked does not, and the audit log says who did it."""
    manages = keys.make(endpoints=("keys",))
    await follows(keyed, manages, 403)
    wanted = {"tenant": "acme", "name": "app", "endpoints": ["chat", "models"], "limits": {"concurrent": 2}}
    answer = await ask(keyed, "POST", "/keys", manages, json={**wanted, "expires_in_s": 3600.0})
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert (await keyed.http.get("/v1/models", headers=bearer(made["key"]))).status_code == 200
    listed = (await ask(keyed, "GET", "/keys", manages)).json()
    shown = next(key for key in listed["keys"] if key["id"] == made["id"])
    assert (shown["tenant"], shown["name"], shown["state"]) == ("acme", "app", "active")
    assert made["key"] not in str(listed)
    assert "digest" not in shown
    revoked = await ask(keyed, "DELETE", f"/keys/{made['id']}", manages)
    assert revoked.json()["state"] == "revoked"
    assert (await keyed.http.get("/v1/models", headers=bearer(made["key"]))).status_code == 401
    assert (await ask(keyed, "DELETE", "/keys/nobody", manages)).status_code == 404
    audit = (tmp_path / "audit.jsonl").read_text()
    assert audit.count('"key.create"') == audit.count('"key.revoke"') == 1
    assert '"who": "key:' in audit
    assert made["key"] not in audit


async def test_limits_are_changed(keyed: GatewayMesh, keys: Keys, tmp_path: Path) -> None:
    """Those of a key hold from the next request on, and those of tenants and models are laid down and taken
    away; the audit log says who did it."""
    manages, calls = keys.make(endpoints=("keys",)), keys.make()
    await follows(keyed, calls)
    key_id = calls[6:18]
    path = "/keys/limits"
    closed = {"kind": "key", "name": key_id, "requests_per_minute": 0, "concurrent": 3}
    answer = await ask(keyed, "PUT", path, manages, json=closed)
    assert answer.status_code == 200, answer.text
    assert answer.json()["limits"] == {"requests_per_minute": 0, "tokens_per_minute": None, "concurrent": 3}
    assert "digest" not in answer.json()
    hello: dict[str, Any] = {
        "url": "/v1/chat/completions",
        "headers": bearer(calls),
        "json": HELLO | {"model": "chat-model"},
    }
    assert (await keyed.http.post(**hello)).status_code == 429
    lifted = await ask(keyed, "DELETE", path, manages, params={"kind": "key", "name": key_id})
    assert not any(value is not None for value in lifted.json()["limits"].values())
    assert (await keyed.http.post(**hello)).status_code == 200
    tenant = {"kind": "tenant", "name": "acme", "requests_per_minute": 0, "share": 2.5}
    assert (await ask(keyed, "PUT", path, manages, json=tenant)).status_code == 200
    (listed,) = (await ask(keyed, "GET", "/keys", manages)).json()["policies"]
    assert (listed["name"], listed["share"], listed["limits"]["requests_per_minute"]) == ("acme", 2.5, 0)
    assert (await keyed.http.post(**hello)).status_code == 429
    await ask(keyed, "DELETE", path, manages, params={"kind": "tenant", "name": "acme"})
    assert not (await ask(keyed, "GET", "/keys", manages)).json()["policies"]
    audit = (tmp_path / "audit.jsonl").read_text()
    assert (audit.count('"limits.set"'), audit.count('"limits.remove"')) == (3, 1)


UNFIT: list[tuple[dict[str, Any], str]] = [
    ({"kind": "key", "name": "nobody"}, "name"),
    ({"kind": "key", "name": "nobody", "share": 2}, "share"),
    ({"kind": "model", "name": "m", "share": 2}, "share"),
    ({"kind": "tenant", "name": "t", "share": 0}, "share"),
    ({"kind": "tenant", "name": "t", "concurrent": "many"}, "concurrent"),
    ({"kind": "tenant", "name": "t", "requests_per_minute": -1}, "requests_per_minute"),
    ({"kind": "tenant", "name": "t", "tokens_per_minute": 10**13}, "tokens_per_minute"),
    ({"kind": "tenant", "name": ""}, "name"),
    ({"kind": "everybody", "name": "t"}, "kind"),
    ({"kind": "tenant", "name": "t", "per_day": 1}, "per_day"),
]


async def test_limits_that_cannot_be_are_refused(keyed: GatewayMesh, keys: Keys) -> None:
    """With the name of the field that is wrong."""
    manages, looks = keys.make(endpoints=("keys",)), keys.make(endpoints=("console",))
    await follows(keyed, looks, 403)
    for body, param in UNFIT:
        answer = await ask(keyed, "PUT", "/keys/limits", manages, json=body)
        assert answer.status_code == (404 if body == UNFIT[0][0] else 400), body
        assert answer.json()["error"]["param"] == param
    assert (await ask(keyed, "PUT", "/keys/limits", looks, json=UNFIT[0][0])).status_code == 403
    ring = keys.store.read()[1]
    assert not ring.tenants
    assert not ring.models


async def test_limits_of_a_revoked_key_stay(keyed: GatewayMesh, keys: Keys) -> None:
    """It opens nothing, and no change makes it open something."""
    manages, gone = keys.make(endpoints=("keys",)), keys.make(revoked=1.0)
    await follows(keyed, manages, 403)
    body = {"kind": "key", "name": gone[6:18], "concurrent": 1}
    answer = await ask(keyed, "PUT", "/keys/limits", manages, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "name")
    assert keys.store.read()[1].keys[gone[6:18]].revoked == 1.0
    for query in ({"kind": "tenant"}, {"kind": "all", "name": "a"}, {"kind": "key", "name": "nobody"}):
        assert (await ask(keyed, "DELETE", "/keys/limits", manages, params=query)).status_code in (400, 404)


@pytest.mark.parametrize(
    "body",
    [
        {"tenant": "no such name!"},
        {"endpoints": ["everything"]},
        {"limits": {"concurrent": -1}},
        {"expires_in_s": 0},
        {"models": [""]},
        {"limits": {"per_day": 1}},
        {"unknown": 1},
    ],
)
async def test_a_key_that_cannot_be_is_refused(keyed: GatewayMesh, keys: Keys, body: dict[str, Any]) -> None:
    """With 400, and a name for what is wrong."""
    manages = keys.make(endpoints=("keys",))
    await follows(keyed, manages, 403)
    answer = await ask(keyed, "POST", "/keys", manages, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"]


async def test_without_keys_the_data_is_there_for_its_own_page_only() -> None:
    """Pages of other sites are refused, even where CORS lets them call the API."""
    async with gateway_mesh(FakeWorker(), cors="*") as mesh:
        assert await first_event(mesh, {}) == "event: whole"
        assert (await ask(mesh, "GET", "/keys")).json() == {"on": False}
        for site in ("cross-site", "same-site"):
            answer = await mesh.http.get("/console/data/live", headers={"sec-fetch-site": site})
            assert answer.status_code == 403
        for path in ("/live", "/request?id=a", "/keys"):
            answer = await mesh.http.get(f"/console/data{path}", headers={"host": "rebound.example:8000"})
            assert answer.status_code == 403
            assert "localhost" in answer.json()["error"]["message"]
        own = await mesh.http.get("/console/data/keys", headers={"host": "localhost:8000"})
        assert own.json() == {"on": False}
        assert (await ask(mesh, "POST", "/keys", json={})).status_code == 501
        page = await mesh.http.get("/console")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        tagged = {"if-none-match": page.headers["etag"]}
        assert (await mesh.http.get("/console", headers=tagged)).status_code == 304
        assert (await mesh.http.get("/console/nothing.js")).status_code == 404
        assert (await mesh.http.post("/console")).status_code == 405
        assert (await ask(mesh, "GET", "/request?id=nobody")).status_code == 404


async def test_a_chat_request_is_told_in_the_contract() -> None:
    """As grpcurl takes it; what is wrong with it is told as the endpoint would."""
    async with gateway_mesh(FakeWorker()) as mesh:
        told = (await ask(mesh, "POST", "/contract", json={**HELLO, "temperature": 0.5})).json()
        assert told["grpc"] == str(mesh.grpc)
        assert told["request"]["sampling"] == {"temperature": 0.5}
        assert told["request"]["chat"]["messages"] == [{"role": "ROLE_USER", "parts": [{"text": "Hello"}]}]
        wrong = await ask(mesh, "POST", "/contract", json={**HELLO, "temperature": 9})
        assert wrong.json()["error"]["param"] == "temperature"


@pytest.mark.parametrize("settings", [{"console": False}, {"behind_proxy": True}])
async def test_it_can_be_switched_off(settings: dict[str, Any]) -> None:
    """And is not there behind a proxy without keys, where nobody could say who looks."""
    async with gateway_mesh(FakeWorker(), **settings) as mesh:
        for path in ("/console", "/console/app.js", "/console/data/live"):
            assert (await mesh.http.get(path)).status_code == 404


async def test_one_viewer_too_many_comes_again_on_another_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway's processes have so many each; the system deals out connections, not requests."""
    monkeypatch.setattr(live, "MOST_VIEWERS", 1)
    async with gateway_mesh(FakeWorker()) as mesh:
        async with mesh.http.stream("GET", "/console/data/live") as answer:
            assert await anext(answer.aiter_lines()) == "event: whole"
            reader, writer = await asyncio.open_connection(mesh.rest.host, mesh.rest.port)
            writer.write(b"GET /console/data/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            async with asyncio.timeout(PATIENCE_S):
                refusal = await reader.read()  # to the end of the connection
            writer.close()
            assert refusal.startswith(b"HTTP/1.1 503 ")
            assert b"has 1 viewers" in refusal
        async with asyncio.timeout(PATIENCE_S):
            while await first_event(mesh, {}) != "event: whole":
                pass


async def test_a_gateway_that_is_watched_ends_in_time() -> None:
    """Its drain waits for no viewer."""
    async with gateway_mesh(FakeWorker(), drain_limit_s=30) as mesh:
        stream = mesh.http.stream("GET", "/console/data/live")
        lines = (await stream.__aenter__()).aiter_lines()
        assert await anext(lines) == "event: whole"
        mesh.stop.set()
        async with asyncio.timeout(PATIENCE_S):
            async for _ in lines:
                pass
        await stream.__aexit__(None, None, None)


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_who_looks_is_shown_out_when_the_key_ends(keyed: GatewayMesh, keys: Keys, how: str) -> None:
    """A page that stays open shows no more than one that is opened anew; one with another key goes on."""
    ends = time.time() + 2.0 if how == "expired" else None
    key, other = keys.make(endpoints=("console",), expires=ends), keys.make(endpoints=("console",))
    await follows(keyed, other, 403)
    path = "/console/data/live"
    async with (
        asyncio.timeout(PATIENCE_S),
        keyed.http.stream("GET", path, headers=bearer(key)) as answer,
        keyed.http.stream("GET", path, headers=bearer(other)) as stays,
    ):
        reading = asyncio.ensure_future(stays.aread())
        if how == "revoked":
            keys.store.change_key(key[6:18], lambda held: replace(held, revoked=time.time()))
        told = [line async for line in answer.aiter_lines()]
        assert told[0] == "event: whole"
        assert "event: error" in told
        assert how in told[told.index("event: error") + 1]
        assert not reading.done()
        reading.cancel()
    assert (await ask(keyed, "GET", "/live", key)).status_code == 401
