"""Clients that leave, and deadlines that pass: the worker's call ends at once."""

import asyncio
from typing import Any, cast

import grpc
import httpx
import orjson
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http import sse
from inferloom_mesh.errors import Reason
from inferloom_mesh.status import from_rpc_error
from tests.patience import PATIENCE_S
from tests.wire.fake_worker import FakeWorker, completed, delta, finished, hang, started
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh

CHAT: dict[str, Any] = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}


async def _silent(worker: FakeWorker, request: pb.GenerateRequest) -> Any:
    """Accept nothing until cancelled."""
    await asyncio.Event().wait()
    yield


async def _begin(mesh: GatewayMesh, path: str, body: dict[str, Any]) -> asyncio.StreamWriter:
    """Send a request on a connection of its own."""
    _, writer = await asyncio.open_connection(*mesh.rest)
    content = orjson.dumps(body)
    writer.write(
        b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
        % (path.encode(), len(content), content)
    )
    return writer


@pytest.mark.parametrize("script", [hang, _silent])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"stream": True},
        {"n": 2, "stream": True},
    ],
)
async def test_a_client_that_leaves_cancels_the_workers_call(
    mesh: GatewayMesh, change: dict[str, Any], script: Any
) -> None:
    """Streaming or not, before the first event or after it, a disconnect aborts the generation."""
    mesh.worker.script = script
    async with asyncio.timeout(PATIENCE_S):
        writer = await _begin(mesh, "/v1/chat/completions", {**CHAT, **change})
        await mesh.worker.accepted.wait()
        assert not mesh.worker.cancelled.is_set()
        writer.close()
        await mesh.worker.cancelled.wait()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_pipelined_request_does_not_hide_that_its_client_leaves(
    mesh: GatewayMesh, stream: bool
) -> None:
    """The one before it is cancelled as well."""
    mesh.worker.script = hang
    async with asyncio.timeout(PATIENCE_S):
        writer = await _begin(mesh, "/v1/chat/completions", {**CHAT, "stream": stream})
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await mesh.worker.accepted.wait()
        cast("asyncio.Transport", writer.transport).abort()
        await mesh.worker.cancelled.wait()


@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_cancels_the_calls_of_every_prompt(mesh: GatewayMesh, stream: bool) -> None:
    """A disconnect aborts all generations of an array of prompts."""
    mesh.worker.script = hang
    body = {"model": "chat-model", "prompt": ["a", "b", "c"], "stream": stream}
    async with asyncio.timeout(PATIENCE_S):
        writer = await _begin(mesh, "/v1/completions", body)
        await mesh.worker.runs(3)
        writer.close()
        await mesh.worker.runs(0)


async def test_leaving_cancels_embeddings(mesh: GatewayMesh) -> None:
    """A disconnect ends an embedding call too."""
    asked = asyncio.Event()

    async def wait(request: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    mesh.worker.on_unary = wait
    async with asyncio.timeout(PATIENCE_S):
        writer = await _begin(mesh, "/v1/embeddings", {"model": "org/embedder", "input": "a"})
        await asked.wait()
        writer.close()
        await mesh.worker.cancelled.wait()


async def test_an_abandoned_stream_leaves_the_connection_pool_usable(mesh: GatewayMesh) -> None:
    """A client that stops reading midway gets its next answer on the same client."""
    mesh.worker.script = hang
    async with mesh.http.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as response:
        async for _ in response.aiter_lines():
            break
    async with asyncio.timeout(PATIENCE_S):
        await mesh.worker.cancelled.wait()
    assert (await mesh.http.get("/v1/models")).status_code == 200


async def test_a_cancelled_grpc_call_cancels_the_workers(mesh: GatewayMesh) -> None:
    """Cancelling on the gRPC façade reaches the worker."""
    mesh.worker.script = hang
    call = mesh.stub.Generate(pb.GenerateRequest(model="chat-model", text="a"))
    assert (await call.read()).HasField("started")
    call.cancel()
    async with asyncio.timeout(PATIENCE_S):
        await mesh.worker.cancelled.wait()


async def test_a_grpc_deadline_reaches_the_worker(mesh: GatewayMesh) -> None:
    """The caller's deadline bounds the worker's call."""
    mesh.worker.script = _silent
    call = mesh.stub.Generate(pb.GenerateRequest(model="chat-model", text="a"), timeout=0.2)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert from_rpc_error(caught.value).reason is Reason.TIMEOUT
    async with asyncio.timeout(PATIENCE_S):
        await mesh.worker.cancelled.wait()


@pytest.mark.parametrize("stream", [False, True])
async def test_the_budget_of_a_request_ends_in_504(stream: bool) -> None:
    """A worker that accepts nothing within worker_timeout_s is given up with timeout."""
    async with gateway_mesh(FakeWorker(script=_silent), worker_timeout_s=0.2) as mesh:
        response = await mesh.http.post("/v1/chat/completions", json={**CHAT, "stream": stream})
        assert (response.status_code, response.json()["error"]["code"]) == (504, "timeout")
        async with asyncio.timeout(PATIENCE_S):
            await mesh.worker.cancelled.wait()


async def test_long_silences_have_comments(mesh: GatewayMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a request waits, the stream shows signs of life that clients skip, and only then."""

    async def wait(worker: FakeWorker, request: pb.GenerateRequest) -> Any:
        yield started(request)
        for _ in range(3):
            yield pb.GenerateResponse(heartbeat=pb.Heartbeat(phase=pb.HEARTBEAT_PHASE_QUEUED))
        yield delta("now")
        yield finished()
        yield completed()

    mesh.worker.script = wait
    response = await mesh.http.post("/v1/chat/completions", json={**CHAT, "stream": True})
    assert ":" not in {line[:1] for line in response.text.split("\n")}
    monkeypatch.setattr(sse, "SILENCE_S", 0.0)
    response = await mesh.http.post("/v1/chat/completions", json={**CHAT, "stream": True})
    blocks = response.text.split("\n\n")
    assert blocks[1].startswith(": waiting\n: waiting\n: waiting\nid: 1\ndata: {")
    assert blocks[-2:] == ["data: [DONE]", ""]
    # A reader that sends an event at every empty line finds data in each.
    assert all("data: " in block for block in blocks[:-1])
    async with mesh.openai() as client:
        stream = await client.chat.completions.create(**CHAT, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "now"


async def test_a_slow_reader_gets_everything(mesh: GatewayMesh) -> None:
    """A client that reads late finds the whole stream."""
    text = "x" * 1000

    async def much(worker: FakeWorker, request: pb.GenerateRequest) -> Any:
        yield started(request)
        for index in range(2000):
            yield delta(text, 0, index)
        yield finished()
        yield completed(2000)

    mesh.worker.script = much
    gathered = 0
    async with mesh.http.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as response:
        assert isinstance(response, httpx.Response)
        async for line in response.aiter_lines():
            gathered += line.count(text)
    assert gathered == 2000


async def test_clients_that_leave_in_the_middle_leave_nothing_behind() -> None:
    """Whenever fifty streams are cut, while a token is written or awaited, every place is free again."""

    async def endless(worker: FakeWorker, request: pb.GenerateRequest) -> Any:
        yield started(request)
        index = 0
        while True:
            yield delta("x", 0, index)
            index += 1
            await asyncio.sleep(0)

    async def leave_after(mesh: GatewayMesh, lines: int) -> None:
        body = {**CHAT, "stream": True}
        async with mesh.http.stream("POST", "/v1/chat/completions", json=body) as response:
            assert response.status_code == 200
            reading = response.aiter_lines()
            for _ in range(lines):
                await anext(reading)

    async with gateway_mesh(FakeWorker(script=endless), max_in_flight=50) as mesh:
        for _ in range(2):  # the second round needs the places of the first
            await asyncio.gather(*(leave_after(mesh, lines) for lines in range(1, 51)))
            await mesh.worker.runs(0)
