"""A gateway that asks for keys: REST by the OpenAI SDK, and gRPC."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import openai
import pytest
from openai import AsyncOpenAI

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.access.api_key import ApiKey, Limits, Policy
from inferloom_gateway.access.endpoints import OPEN
from inferloom_gateway.access.key_text import digest_of, new_key
from inferloom_gateway.access.stores.sqlite import SqliteStore
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.secret import MeshSecret
from inferloom_mesh.status import from_rpc_error
from tests.patience import PATIENCE_S, within
from tests.wire.fake_worker import FakeWorker, hang
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh

SECRET = "a secret of this mesh"
HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]


class Keys:
    """A store, and the keys that were made in it."""

    def __init__(self, folder: Path) -> None:
        self.store = SqliteStore(folder / "keys.db", create=True)
        self.file = folder / "keys.db"
        self.place = str(self.file)

    def make(self, tenant: str = "acme", **more: Any) -> str:
        """Make a key; return all of it."""
        name, text = new_key()
        self.store.put_key(ApiKey(name, digest_of(text), tenant, **more))
        return text


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """A store without keys."""
    return Keys(tmp_path)


@pytest.fixture
async def mesh(keys: Keys, worker: FakeWorker) -> AsyncIterator[GatewayMesh]:
    """A gateway that asks for keys."""
    async with gateway_mesh(worker, keys=keys.place, mesh_secret=SECRET) as mesh:
        yield mesh


@pytest.fixture
def worker() -> FakeWorker:
    """Its worker."""
    return FakeWorker()


def sdk(mesh: GatewayMesh, key: str) -> AsyncOpenAI:
    """The SDK with a key."""
    return AsyncOpenAI(base_url=mesh.base_url, api_key=key, max_retries=0)


async def follows(mesh: GatewayMesh, key: str, status: int = 200) -> None:
    """Wait until the gateway knows of a change."""
    async with asyncio.timeout(PATIENCE_S):
        while (await get(mesh, "/v1/models", key)).status_code != status:
            pass  # each look is a request that gives way to everything else


async def get(mesh: GatewayMesh, path: str, key: str = "", **headers: str) -> httpx.Response:
    """GET with a key."""
    shown = {"authorization": f"Bearer {key}"} if key else {}
    return await mesh.http.get(path, headers={**shown, **headers})


async def test_nothing_but_health_answers_without_a_key(mesh: GatewayMesh) -> None:
    """Every route, those too that do not exist, is closed; the error has OpenAI's shape."""
    ((name, token),) = MeshSecret(SECRET).metadata
    document = (await get(mesh, "/openapi.json", **{name: token})).json()
    documented = document["paths"]
    assert document["security"] == [{"apiKey": []}]
    assert document["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"
    assert documented["/health"]["get"]["security"] == []
    assert "/v1/chat/completions" in documented
    for path in (*documented, "/", "/docs", "/openapi.json", "/nowhere", "//v1//models/"):
        if path in OPEN:
            assert (await get(mesh, path)).status_code == 200, path
            continue
        for method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"):
            answer = await mesh.http.request(method, path, json={})
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == 'Bearer realm="inferloom"'
            if method != "HEAD":
                assert answer.json()["error"]["code"] == "invalid_api_key"
                assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_the_sdk_raises_its_own_error_for_a_wrong_key(mesh: GatewayMesh) -> None:
    """AuthenticationError, without the key in it."""
    async with sdk(mesh, "sk-wrong") as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.models.list()
    assert caught.value.code == "invalid_api_key"
    assert "sk-wrong" not in str(caught.value)


async def test_a_key_that_was_made_opens_and_revoked_it_does_not(mesh: GatewayMesh, keys: Keys) -> None:
    """Both within five seconds, and the tenant travels to the worker."""
    key = keys.make()
    await follows(mesh, key)
    async with sdk(mesh, key) as client:
        assert [model.id for model in (await client.models.list()).data] == ["chat-model", "org/embedder"]
        answer = await client.chat.completions.create(model="chat-model", messages=HELLO)
        assert answer.choices[0].message.content
    (found,) = keys.store.read()[1].keys.values()
    keys.store.put_key(ApiKey(found.id, found.digest, "acme", revoked=time.time()))
    async with within(5):
        await follows(mesh, key, 401)
    assert (await get(mesh, "/v1/models", key)).json()["error"]["message"].endswith("revoked.")


async def test_scopes(keys: Keys, worker: FakeWorker) -> None:
    """PermissionDeniedError for models and endpoints that a key does not open; lists have only what it
    does."""
    key = keys.make(models=("org/*",), endpoints=("embeddings", "models", "chat"))
    reader = keys.make(endpoints=("metrics",))
    async with gateway_mesh(worker, keys=keys.place, mesh_secret=SECRET) as mesh, sdk(mesh, key) as client:
        assert [model.id for model in (await client.models.list()).data] == ["org/embedder"]
        assert (await client.models.retrieve("org/embedder")).id == "org/embedder"
        assert (await client.embeddings.create(model="org/embedder", input="a")).data
        for call in (
            client.chat.completions.create(model="chat-model", messages=HELLO),
            client.completions.create(model="org/embedder", prompt="a"),
            client.models.retrieve("chat-model"),
        ):
            with pytest.raises(openai.PermissionDeniedError) as caught:
                await call
            assert caught.value.code == "permission_denied"
        assert (await get(mesh, "/metrics", key)).status_code == 403
        assert (await get(mesh, "/metrics", reader)).status_code == 200
        assert (await get(mesh, "/docs", key)).status_code == 200
    assert [type(request) for request in worker.requests] == [pb.EmbedRequest]


async def test_requests_per_minute(keys: Keys, worker: FakeWorker) -> None:
    """RateLimitError with OpenAI's code, type and headers; what is refused counts not."""
    key = keys.make(limits=Limits(requests_per_minute=2))
    async with gateway_mesh(worker, keys=keys.place, mesh_secret=SECRET) as mesh, sdk(mesh, key) as client:
        ask = client.chat.completions.with_raw_response.create
        for left in ("1", "0"):
            answer = await ask(model="chat-model", messages=HELLO)
            assert answer.headers["x-ratelimit-limit-requests"] == "2"
            assert answer.headers["x-ratelimit-remaining-requests"] == left
            assert answer.headers["x-ratelimit-reset-requests"] == "1m0.1s"
            assert "x-ratelimit-limit-tokens" not in answer.headers
        for _ in range(2):  # the second one is refused before its body is read
            with pytest.raises(openai.RateLimitError) as caught:
                await ask(model="chat-model", messages=HELLO)
            assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "requests")
            assert "Limit 2, Used 2, Requested 1" in str(caught.value)
            headers = caught.value.response.headers
            assert 58 <= int(headers["retry-after"]) <= 61
            assert headers["x-ratelimit-remaining-requests"] == "0"
        assert (await client.models.list()).data  # what is not computed is not limited
    assert len(worker.requests) == 2


async def test_tokens_per_minute_are_reserved_and_settled(keys: Keys, worker: FakeWorker) -> None:
    """A request that says how much it wants is held to it until it ends, and then to what it used."""
    key = keys.make(limits=Limits(tokens_per_minute=150))
    async with gateway_mesh(worker, keys=keys.place, mesh_secret=SECRET) as mesh, sdk(mesh, key) as client:
        ask = client.chat.completions.with_raw_response.create
        answer = await ask(model="chat-model", messages=HELLO, max_tokens=100)
        assert answer.headers["x-ratelimit-limit-tokens"] == "150"
        assert 20 <= int(answer.headers["x-ratelimit-remaining-tokens"]) <= 45
        again = await ask(model="chat-model", messages=HELLO, max_tokens=100)  # the first one used 10
        assert 10 <= int(again.headers["x-ratelimit-remaining-tokens"]) <= 35
        with pytest.raises(openai.RateLimitError) as caught:
            await ask(model="chat-model", messages=HELLO, max_tokens=149)
        assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "tokens")
        assert "never" in str(caught.value)
        silent = await ask(model="chat-model", messages=HELLO)  # a tenth of the context, which is 512
        assert 30 <= int(silent.headers["x-ratelimit-remaining-tokens"]) <= 75


async def test_concurrent_requests(keys: Keys, worker: FakeWorker) -> None:
    """A stream counts until it ends, however it ends."""
    key = keys.make(limits=Limits(concurrent=1))
    worker.script = hang
    async with gateway_mesh(worker, keys=keys.place, mesh_secret=SECRET) as mesh, sdk(mesh, key) as client:
        stream = await client.chat.completions.create(model="chat-model", messages=HELLO, stream=True)
        with pytest.raises(openai.RateLimitError, match="concurrent"):
            await client.chat.completions.create(model="chat-model", messages=HELLO)
        await stream.close()
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    again = await client.chat.completions.create(
                        model="chat-model", messages=HELLO, stream=True
                    )
                except openai.RateLimitError:
                    continue
                await again.close()
                break


async def test_tenants_and_models_have_limits_of_their_own(keys: Keys, worker: FakeWorker) -> None:
    """All keys of a tenant together, and all callers of a model."""
    keys.store.put_policy("tenant", "acme", Policy(Limits(requests_per_minute=2)))
    keys.store.put_policy("model", "chat-*", Policy(Limits(requests_per_minute=3)))
    one, two, other = keys.make(), keys.make(), keys.make("other")
    async with gateway_mesh(worker, keys=keys.place, mesh_secret=SECRET) as mesh:

        async def ask(key: str) -> str:
            body = {"model": "chat-model", "messages": HELLO}
            answer = await mesh.http.post(
                "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}
            )
            return "" if answer.status_code == 200 else answer.json()["error"]["message"]

        assert [await ask(key) for key in (one, two)] == ["", ""]
        assert "tenant acme" in await ask(one)
        assert await ask(other) == ""
        assert "model chat-model" in await ask(other)


async def test_grpc_asks_for_the_same(keys: Keys, worker: FakeWorker) -> None:
    """UNAUTHENTICATED, PERMISSION_DENIED and RESOURCE_EXHAUSTED; health and reflection are open."""
    key = keys.make(
        limits=Limits(requests_per_minute=1), endpoints=("chat", "models"), models=("chat-model",)
    )
    request = pb.GenerateRequest(model="chat-model", text="a")
    chat = pb.GenerateRequest(model="chat-model", chat=pb.ChatInput())

    async with gateway_mesh(worker, keys=keys.place, mesh_secret=SECRET) as mesh:

        async def failure(call: Any) -> InferloomError:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await (call.read() if hasattr(call, "read") else call)
            return from_rpc_error(caught.value)

        shown = (("authorization", f"Bearer {key}"),)
        assert (await failure(mesh.stub.ListModels(pb.ListModelsRequest()))).reason is Reason.INVALID_API_KEY
        assert (await failure(mesh.stub.Generate(request))).reason is Reason.INVALID_API_KEY
        listed = await mesh.stub.ListModels(pb.ListModelsRequest(), metadata=shown)
        assert [model.id for model in listed.models] == ["chat-model"]
        for call in (
            mesh.stub.Generate(request, metadata=shown),  # a completion
            mesh.stub.Tokenize(pb.TokenizeRequest(model="chat-model", text="a"), metadata=shown),
            mesh.stub.Embed(pb.EmbedRequest(model="org/embedder"), metadata=shown),
        ):
            assert (await failure(call)).reason is Reason.PERMISSION_DENIED
        assert [event async for event in mesh.stub.Generate(chat, metadata=shown)]
        error = await failure(mesh.stub.Generate(chat, metadata=shown))
        assert error.reason is Reason.RATE_LIMIT_EXCEEDED
        assert error.retry_after is not None
        assert 55 < error.retry_after <= 61


async def test_connect_asks_for_the_same(keys: Keys, worker: FakeWorker) -> None:
    """In the words of its own protocol, at the beginning and in the middle."""
    key = keys.make(limits=Limits(requests_per_minute=1), models=("chat-model",))
    path = "/inferloom.v1.InferenceService/"
    async with gateway_mesh(worker, keys=keys.place, mesh_secret=SECRET) as mesh:

        async def call(method: str, body: dict[str, Any], key: str = "") -> tuple[int, Any, httpx.Headers]:
            headers = {"authorization": f"Bearer {key}"} if key else {}
            answer = await mesh.http.post(path + method, json=body, headers=headers)
            return answer.status_code, answer.json(), answer.headers

        tokenize = {"model": "chat-model", "text": "a"}
        assert (await call("Tokenize", tokenize))[1]["code"] == "unauthenticated"
        status, body, _ = await call("Tokenize", {**tokenize, "model": "other"}, key)
        assert (status, body["code"]) == (403, "permission_denied")
        status, body, headers = await call("Tokenize", tokenize, key)
        assert (status, headers["x-ratelimit-remaining-requests"]) == (200, "0")
        for _ in range(2):
            status, body, headers = await call("Tokenize", tokenize, key)
            assert (status, body["code"]) == (429, "resource_exhausted")
            assert headers["x-ratelimit-limit-requests"] == "1"


async def test_usage_is_written(keys: Keys, worker: FakeWorker) -> None:
    """By key and day, when the gateway stops at the latest."""
    key = keys.make()
    async with gateway_mesh(worker, keys=keys.place, mesh_secret=SECRET) as mesh, sdk(mesh, key) as client:
        for _ in range(3):
            await client.chat.completions.create(model="chat-model", messages=HELLO)
    (row,) = keys.store.usage("2000-01-01")
    assert (row.key, row.requests) == (key[6:18], 3)
    assert (row.prompt_tokens, row.completion_tokens) == (21, 9)


async def test_who_has_the_meshs_secret_is_its_operator(mesh: GatewayMesh) -> None:
    """What shows the secret opens what a key does, at both doors; the secret itself does not."""
    ((name, token),) = MeshSecret(SECRET).metadata
    assert (await get(mesh, "/v1/models", **{name: token})).status_code == 200
    assert (await get(mesh, "/metrics", **{name: token})).status_code == 200
    assert (await get(mesh, "/v1/models", **{name: SECRET})).status_code == 401
    assert (await get(mesh, "/v1/models", "sk-wrong", **{name: token})).status_code == 401
    assert (await mesh.stub.ListModels(pb.ListModelsRequest(), metadata=((name, token),))).models


async def test_a_store_that_is_away_lets_nobody_in(
    keys: Keys, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known of the keys holds for five seconds; after that a revocation could be missed."""
    monkeypatch.setattr("inferloom_gateway.access.following.STALE_S", 1.5)
    key = keys.make()
    async with gateway_mesh(worker, keys=keys.place, mesh_secret=SECRET) as mesh:
        await follows(mesh, key)
        away = keys.file.rename(keys.file.with_suffix(".away"))
        await follows(mesh, key, 503)
        answer = await get(mesh, "/v1/models", key)
        assert answer.json()["error"]["code"] == "server_overloaded"
        assert (await get(mesh, "/health")).status_code == 200
        away.rename(keys.file)
        await follows(mesh, key)
