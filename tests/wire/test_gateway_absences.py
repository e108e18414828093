"""Requests for a model whose workers are away: they wait for a while, whatever they ask, at every door."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom_gateway.calls import absences
from inferloom_gateway.calls.turns import Caller, Turns
from inferloom_gateway.fleet.members import Member
from inferloom_mesh.errors import InferloomError, Reason
from tests.patience import PATIENCE_S, until_async
from tests.wire.fake_worker import CHAT, EMBEDDER, FakeWorker, hang, refuse, say_hello
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh

RANKER = pb.Model(id="ranker", tasks=[pb.TASK_RERANK], context_length=128)
BODY: dict[str, Any] = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}
CONNECT = "/inferloom.v1.InferenceService"


def post(path: str, body: dict[str, Any]) -> Callable[[GatewayMesh], Awaitable[str]]:
    """Ask over HTTP; what is answered."""

    async def ask(mesh: GatewayMesh) -> str:
        answer = await mesh.http.post(path, json=body)
        return f"{answer.status_code} {answer.text}"

    return ask


async def generate(mesh: GatewayMesh) -> str:
    """The same over gRPC, a stream."""
    call = mesh.stub.Generate(pb.GenerateRequest(model="chat-model", text="a"))
    return f"200 {[event.WhichOneof('event') async for event in call]}"


async def tokenize(mesh: GatewayMesh) -> str:
    """The same over gRPC, one answer."""
    return f"200 {await mesh.stub.Tokenize(pb.TokenizeRequest(model='chat-model', text='a'))}"


ASKING = {
    "chat": post("/v1/chat/completions", BODY),
    "chat streamed": post("/v1/chat/completions", {**BODY, "stream": True}),
    "text": post("/v1/completions", {"model": "chat-model", "prompt": ["a", "b"]}),
    "responses": post("/v1/responses", {"model": "chat-model", "input": "a"}),
    "embeddings": post("/v1/embeddings", {"model": "org/embedder", "input": ["a", "b"]}),
    "tokens": post("/tokenize", {"model": "chat-model", "prompt": "a"}),
    "ranking": post("/v1/rerank", {"model": "ranker", "query": "a", "documents": ["b"]}),
    "ranking by vectors": post("/v1/rerank", {"model": "org/embedder", "query": "a", "documents": ["b"]}),
    "connect": post(f"{CONNECT}/Tokenize", {"model": "chat-model", "text": "a"}),
    "grpc streamed": generate,
    "grpc": tokenize,
}
MODELS = (CHAT, EMBEDDER, RANKER)


async def gone(mesh: GatewayMesh) -> None:
    """Wait until the gateway has nobody to call."""
    await until_async(
        lambda: mesh.http.get("/health/ready"), "no model", lambda seen: seen.status_code == 503
    )


class Waiting(asyncio.Event):
    """Set once a request waits."""

    turns: Turns


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    """Tells of requests that wait."""
    begun, member = Waiting(), Turns.member

    async def seen(turns: Turns, caller: Caller) -> Member:
        begun.turns = turns
        begun.set()
        return await member(turns, caller)

    monkeypatch.setattr(Turns, "member", seen)
    monkeypatch.setattr(absences, "REFUSED_S", PATIENCE_S)
    return begun


@pytest.mark.parametrize("asking", ASKING)
async def test_whatever_is_asked_waits_for_a_worker_to_come_back(asking: str, waiting: Waiting) -> None:
    """At every door, while the only worker is restarted."""
    async with gateway_mesh(FakeWorker(models=MODELS), absent_wait_s=PATIENCE_S) as mesh:
        await mesh.worker.kill()
        mesh.registry.remove("worker-1")
        await gone(mesh)
        asked = asyncio.ensure_future(ASKING[asking](mesh))
        await waiting.wait()
        assert not asked.done()
        await mesh.worker.start()
        mesh.registry.put(mesh.worker.registered(epoch=2))
        assert (await asked).startswith("200 ")


async def test_a_request_that_was_on_the_worker_waits_too(waiting: Waiting) -> None:
    """Where its caller has seen nothing yet; whether the worker comes back under a new epoch, or only answers
    again."""
    for epoch in (1, 2):
        waiting.clear()
        async with gateway_mesh(FakeWorker(), absent_wait_s=PATIENCE_S) as mesh:
            mesh.worker.script = hang
            asked = asyncio.create_task(mesh.http.post("/v1/chat/completions", json=BODY))
            await mesh.worker.accepted.wait()
            await mesh.worker.kill()
            await waiting.wait()
            mesh.worker.script = say_hello
            await mesh.worker.start()
            mesh.registry.put(mesh.worker.registered(epoch=epoch))
            assert (await asked).status_code == 200


@pytest.mark.parametrize("reason", [Reason.NO_WORKER, Reason.WORKER_LOST])
async def test_a_worker_that_stops_is_waited_for_as_well(reason: Reason, waiting: Waiting) -> None:
    """Whether the registry or the worker itself says so first."""
    async with gateway_mesh(FakeWorker(), absent_wait_s=PATIENCE_S) as mesh:
        mesh.worker.script = refuse(InferloomError(reason, "The worker is draining."))
        first = asyncio.create_task(mesh.http.post("/v1/chat/completions", json=BODY))
        await waiting.wait()
        mesh.registry.put(mesh.worker.registered(state=registry_pb2.WORKER_STATE_DRAINING))
        await gone(mesh)
        waiting.clear()
        second = asyncio.create_task(mesh.http.post("/v1/chat/completions", json=BODY))
        await waiting.wait()
        mesh.worker.script = say_hello
        mesh.registry.put(mesh.worker.registered(epoch=2))
        assert [(await each).status_code for each in (first, second)] == [200, 200]


async def test_a_model_that_stays_away_is_waited_for_once(waiting: Waiting) -> None:
    """The first request has its time; those behind it are refused at once. Who leaves waits no more, and one
    that nobody had is not waited for."""
    async with gateway_mesh(FakeWorker(), absent_wait_s=0.3) as mesh:
        await mesh.worker.kill()
        mesh.registry.remove("worker-1")
        await gone(mesh)
        first = await mesh.http.post("/v1/chat/completions", json=BODY)
        assert waiting.is_set()
        waiting.clear()
        second = await mesh.http.post("/v1/chat/completions", json=BODY)
        other = await mesh.http.post("/v1/chat/completions", json={**BODY, "model": "other"})
        assert not waiting.is_set()
    assert [each.json()["error"]["code"] for each in (first, second)] == ["no_worker"] * 2
    assert (first.status_code, first.headers["retry-after"], other.status_code) == (503, "1", 404)


async def test_who_leaves_waits_no_more(waiting: Waiting) -> None:
    """Nor does one whose own time is over."""
    async with gateway_mesh(FakeWorker(), absent_wait_s=PATIENCE_S) as mesh:
        await mesh.worker.kill()
        mesh.registry.remove("worker-1")
        await gone(mesh)
        late = await mesh.http.post("/v1/chat/completions", json=BODY, headers={"x-request-timeout": "0.2"})
        waiting.clear()
        asked = asyncio.create_task(mesh.http.post("/v1/chat/completions", json=BODY))
        await waiting.wait()
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        await until_async(lambda: waiting.turns.waiting == 0, "nobody that waits")
        await mesh.worker.start()
        mesh.registry.put(mesh.worker.registered(epoch=2))
        await mesh.answers(BODY)
        assert len(mesh.worker.requests) == 1
    assert (late.status_code, late.json()["error"]["code"]) == (504, "timeout")
