"""One line for each request, on the gateway and on the worker."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.log_format import JsonFormatter, TextFormatter
from tests.wire.access_lines import Lines, access_lines
from tests.wire.fake_worker import FakeWorker, completed, delta, finished, hang, refuse, started
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.raw_http import RawConnection
from tests.wire.running_worker import limited, refused, running_worker, text_request

CHAT = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}
MARKER = "zanzibar-7f3a-secret"


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The lines of the access log."""
    with access_lines() as caught:
        yield caught


async def slowly(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
    """Answer with times that a line can be held to."""
    yield started(request, worker.id)
    yield delta("a", 0, 0)
    yield finished()
    last = completed(1)
    last.completed.timings.queue.FromMilliseconds(11)
    last.completed.timings.prefill.FromMilliseconds(22)
    last.completed.timings.decode.FromMilliseconds(33)
    yield last


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_is_one_line_with_all_that_is_known(
    mesh: GatewayMesh, lines: Lines, stream: bool
) -> None:
    """Who asked for what, who answered, how it went and how long each part took."""
    mesh.worker.script = slowly
    response = await mesh.http.post(
        "/v1/chat/completions", json={**CHAT, "stream": stream}, headers={"x-request-id": "my-request"}
    )
    assert response.headers["x-request-id"] == "my-request"
    assert response.headers["x-inferloom-worker"] == "worker-1"
    line = await lines.one()
    expected = {
        "request_id": "my-request",
        "door": "rest",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "error": None,
        "model": "chat-model",
        "worker": "worker-1",
        "prompt_tokens": 7,
        "cached_tokens": 2,
        "completion_tokens": 1,
        "queue_ms": 11,
        "prefill_ms": 22,
        "decode_ms": 33,
        "attempts": 1,
    }
    assert expected == {name: line[name] for name in expected}
    assert 0 < line["ttft_ms"] <= line["total_ms"]
    assert line["client"].startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("POST", "/v1/chat/completions", {"model": "chat-model"}, 400, "invalid_argument"),
        ("POST", "/v1/chat/completions", {**CHAT, "model": "nope"}, 404, "model_not_found"),
        ("POST", "/v1/completions", {"model": "m", "prompt": "x" * 4096}, 413, "request_too_large"),
        ("GET", "/v1/nothing", None, 404, "not_found"),
        ("GET", "/v1/embeddings", None, 405, "method_not_allowed"),
        ("GET", "/v1/models", None, 200, None),
    ],
)
async def test_a_request_that_no_worker_saw_has_its_line(
    lines: Lines, method: str, path: str, body: Any, status: int, error: str | None
) -> None:
    """With its status and the reason of its error."""
    async with gateway_mesh(FakeWorker(), max_body_bytes=2048) as mesh:
        response = await mesh.http.request(method, path, json=body)
        assert response.status_code == status
        line = await lines.one()
    assert (line["status"], line["error"], line["path"]) == (status, error, path)
    assert line["request_id"] == response.headers["x-request-id"]
    assert line["worker"] is None


async def test_what_never_became_a_request_has_a_line_with_its_sender(
    mesh: GatewayMesh, lines: Lines
) -> None:
    """Bytes that are no HTTP are refused, and it is known who sent them."""
    connection = await RawConnection.open(mesh.rest)
    await connection.send(b"GET \x01\x02\r\n\r\n")
    assert (await connection.response()).status == 400
    await connection.close()
    line = await lines.one()
    assert (line["status"], line["error"]) == (400, "invalid_argument")
    assert line["client"].startswith("127.0.0.1:")


@pytest.mark.parametrize(("stream", "status"), [(False, 499), (True, 200)])
async def test_a_client_that_left_is_told_as_cancelled(
    mesh: GatewayMesh, lines: Lines, stream: bool, status: int
) -> None:
    """With what it had been sent by then: 499 if that was nothing."""
    mesh.worker.script = hang
    body = json.dumps({**CHAT, "stream": stream}).encode()
    reader, writer = await asyncio.open_connection(*mesh.rest)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%s" % (len(body), body)
    )
    if stream:
        await reader.readuntil(b"Once")
    else:
        await mesh.worker.accepted.wait()
    writer.close()
    line = await lines.one()
    assert (line["status"], line["error"], line["worker"]) == (status, "cancelled", "worker-1")
    if stream:
        assert line["completion_tokens"] == 1


async def test_attempts_are_counted_and_the_last_worker_is_named(lines: Lines) -> None:
    """A request that was refused by one worker and answered by another had two."""
    full = refuse(InferloomError(Reason.NO_WORKER, "draining", retry_after=1.0))
    async with gateway_mesh(FakeWorker("a"), FakeWorker("b")) as mesh:
        mesh.workers[0].script = mesh.workers[1].script = full
        assert (await mesh.http.post("/v1/chat/completions", json=CHAT)).status_code == 503
        line = await lines.one()
    assert (line["attempts"], line["error"]) == (2, "no_worker")


async def test_a_stream_that_breaks_has_its_error(mesh: GatewayMesh, lines: Lines) -> None:
    """Its status was 200 by then; the line says what came after."""

    async def breaks(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request, worker.id)
        yield delta("a")
        raise InferloomError(Reason.SERVER_ERROR, "bad luck")

    mesh.worker.script = breaks
    response = await mesh.http.post("/v1/chat/completions", json={**CHAT, "stream": True})
    assert response.status_code == 200
    line = await lines.one()
    assert (line["status"], line["error"]) == (200, "server_error")


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/ping"])
async def test_health_checks_are_no_lines_for_people(mesh: GatewayMesh, lines: Lines, path: str) -> None:
    """They are at level DEBUG."""
    await mesh.http.get(path)
    await asyncio.sleep(0.05)
    assert lines.fields == []
    assert [record.levelno for record in lines.records] == [logging.DEBUG]


async def test_the_grpc_door_has_lines_too(mesh: GatewayMesh, lines: Lines) -> None:
    """With the method, gRPC's status, and the same facts."""
    mesh.worker.script = slowly
    async for _ in mesh.stub.Generate(pb.GenerateRequest(model="chat-model", text="x", request_id="mine")):
        pass
    line = await lines.one()
    assert (line["door"], line["method"], line["status"]) == ("grpc", "Generate", "OK")
    assert (line["request_id"], line["worker"], line["completion_tokens"]) == ("mine", "worker-1", 1)
    assert (line["queue_ms"], line["attempts"]) == (11, 1)
    assert line["client"].startswith("127.0.0.1:")


@pytest.mark.parametrize(("name", "kept"), [("mine", True), ("no name", False)])
async def test_a_call_is_named_by_its_metadata(
    mesh: GatewayMesh, lines: Lines, name: str, kept: bool
) -> None:
    """As by HTTP's header: a request without a field for it can be found again."""
    request = pb.TokenizeRequest(model="chat-model", text="a")
    await mesh.stub.Tokenize(request, metadata=(("x-request-id", name),))
    assert ((await lines.one())["request_id"] == name) is kept


async def test_a_refused_call_has_its_reason(mesh: GatewayMesh, lines: Lines) -> None:
    """The gRPC status, and the reason behind it."""
    with pytest.raises(grpc.aio.AioRpcError):
        await mesh.stub.Tokenize(pb.TokenizeRequest(model="nope", text="x"))
    line = await lines.one()
    assert (line["status"], line["error"]) == ("NOT_FOUND", "model_not_found")


async def test_a_cancelled_call_is_told_as_cancelled(mesh: GatewayMesh, lines: Lines) -> None:
    """Also while its handler was sending."""
    mesh.worker.script = hang
    call = mesh.stub.Generate(pb.GenerateRequest(model="chat-model", text="x"))
    await call.read()
    await call.read()
    call.cancel()
    line = await lines.one()
    assert (line["status"], line["error"], line["worker"]) == ("CANCELLED", "cancelled", "worker-1")


async def test_it_can_be_switched_off(lines: Lines) -> None:
    """``access_log = false``: no line."""
    async with gateway_mesh(FakeWorker(), access_log=False) as mesh:
        assert (await mesh.http.post("/v1/chat/completions", json=CHAT)).status_code == 200
    async with running_worker("echo=echo", access_log=False) as worker:
        await worker.generate(text_request(**limited(2)))
    assert lines.records == []


async def test_a_worker_tells_the_same_request(lines: Lines) -> None:
    """By the name and for the client that the gateway gave, with its own times."""
    async with running_worker("echo=echo", worker_id="here") as worker:
        answer = await worker.generate(text_request("one two", request_id="named", **limited(3)))
        line = await lines.one()
    expected = {
        "door": "grpc",
        "method": "Generate",
        "status": "OK",
        "error": None,
        "request_id": "named",
        "model": "echo",
        "worker": "here",
        "completion_tokens": 3,
        "prompt_tokens": answer.all("completed")[0].usage.prompt_tokens,
    }
    assert expected == {name: line[name] for name in expected}
    assert line["ttft_ms"] <= line["total_ms"]


async def test_a_worker_tells_what_it_refused(lines: Lines) -> None:
    """And does not tell people of what machines ask all day."""
    async with running_worker("echo=echo") as worker:
        await refused(worker.stub.Generate(text_request(model="nope", request_id="named")))
        await worker.status()
        line = await lines.one()
    assert (line["status"], line["error"], line["request_id"]) == ("NOT_FOUND", "model_not_found", "named")


async def test_a_line_of_text_cannot_be_forged(mesh: GatewayMesh) -> None:
    """What a caller writes stays inside its word: no new lines, no spaces that look like another field."""
    with access_lines() as lines:
        await mesh.http.get("/v1/models/a%0A2026-01-01 INFO status=200")
        await lines.one()
    text = TextFormatter().format(lines.records[0])
    assert "\n" not in text
    assert '"/v1/models/a\\n2026-01-01 INFO status=200" 404 error=' in text


async def test_nothing_that_was_said_is_in_any_log(caplog: pytest.LogCaptureFixture) -> None:
    """At no level, through either door, in the right places and in wrong ones, in text and in JSON."""
    caplog.set_level(logging.DEBUG)
    chat = {"messages": [{"role": "user", "content": MARKER}]}
    async with gateway_mesh(FakeWorker()) as mesh:
        await mesh.http.post("/v1/chat/completions", json={**CHAT, **chat})
        await mesh.http.post("/v1/chat/completions", json={**CHAT, **chat, "stream": True})
        await mesh.http.post("/v1/chat/completions", json={**CHAT, **chat, "temperature": MARKER})
        await mesh.http.post("/v1/completions", json={"model": "chat-model", "prompt": MARKER})
        await mesh.http.post("/v1/embeddings", json={"model": "org/embedder", "input": [MARKER]})
        await mesh.http.post("/tokenize", json={"model": "chat-model", "prompt": MARKER})
        await mesh.http.post("/v1/chat/completions", content=b'{"model": "x", "' + MARKER.encode())
        async for _ in mesh.stub.Generate(pb.GenerateRequest(model="chat-model", text=MARKER)):
            pass
    async with running_worker("echo=echo") as worker:
        answer = await worker.generate(text_request(MARKER, **limited(64)))
        assert MARKER in answer.text()
    assert len([r for r in caplog.records if r.name == "inferloom.access"]) == 9
    for form in (TextFormatter(), JsonFormatter()):
        assert [line for line in map(form.format, caplog.records) if MARKER in line] == []
