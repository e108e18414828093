"""What /metrics says, on every service."""

import asyncio
import gc
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_mesh.channel import open_channel
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.lateness import TICK_S
from inferloom_mesh.net import Address
from inferloom_registry.service import serve
from inferloom_registry.settings import RegistrySettings
from tests.gateway.test_metrics import value
from tests.patience import PATIENCE_S
from tests.wire.fake_worker import ANYWHERE, FakeWorker, delta, hang, refuse, started
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.ports import free_port
from tests.wire.running_worker import limited, refused, running_worker, text_request

CHAT = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}
MODEL = {"model_name": "chat-model"}
STATE = registry_pb2.WORKER_STATE_READY


async def read(http: httpx.AsyncClient) -> bytes:
    """The gateway's metrics."""
    response = await http.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    return response.content


async def ended(mesh: GatewayMesh, expected: float, **labels: str) -> bytes:
    """The metrics, once so many requests have ended so; a stream's end is seen a moment after its client."""
    async with asyncio.timeout(PATIENCE_S):
        while value(text := await read(mesh.http), "inferloom_requests_total", **labels) != expected:
            pass  # each look is a call that gives way to everything else
    return text


async def test_counters_move_by_exactly_what_was_done(mesh: GatewayMesh) -> None:
    """Requests, tokens and times of both doors."""
    for _ in range(3):
        await mesh.http.post("/v1/chat/completions", json=CHAT)
    await mesh.http.post("/v1/chat/completions", json={**CHAT, "stream": True})
    async for _ in mesh.stub.Generate(pb.GenerateRequest(model="chat-model", text="x")):
        pass
    rest = {"door": "rest", "asked": "generate", **MODEL, "outcome": "ok"}
    text = await ended(mesh, 4, **rest)
    assert value(text, "inferloom_requests_total", **{**rest, "door": "grpc"}) == 1
    assert value(text, "vllm:prompt_tokens_total", **MODEL) == 5 * 7
    assert value(text, "vllm:generation_tokens_total", **MODEL) == 5 * 3
    for name in ("time_to_first_token_seconds", "e2e_request_latency_seconds", "request_queue_time_seconds"):
        assert value(text, f"vllm:{name}_count", **MODEL) == 5
    assert value(text, "vllm:inter_token_latency_seconds_count", **MODEL) == 5 * 2
    assert value(text, "inferloom_attempts_total", worker="worker-1", outcome="ok") == 5
    assert value(text, "inferloom_workers", state="ready") == 1
    assert value(text, "inferloom_calls_in_flight", worker="worker-1") == 0
    assert value(text, "inferloom_request_body_bytes") == 0
    assert value(text, "inferloom_event_loop_delay_seconds_count") is not None


async def test_what_no_worker_saw_is_counted_by_its_reason(mesh: GatewayMesh) -> None:
    """And a model that a caller made up gets no label."""
    await mesh.http.post("/v1/chat/completions", json={"model": "chat-model"})
    await mesh.http.post("/v1/chat/completions", json={**CHAT, "model": "made-up"})
    await mesh.http.get("/v1/nothing")
    with pytest.raises(grpc.aio.AioRpcError):
        await mesh.stub.Tokenize(pb.TokenizeRequest(model="made-up", text="x"))
    text = await read(mesh.http)
    none: dict[str, str] = {"model_name": "", "door": "rest"}
    assert value(text, "inferloom_requests_total", asked="other", outcome="invalid_argument", **none) == 1
    assert value(text, "inferloom_requests_total", asked="generate", outcome="model_not_found", **none) == 1
    assert value(text, "inferloom_requests_total", asked="other", outcome="not_found", **none) == 1
    none["door"] = "grpc"
    assert value(text, "inferloom_requests_total", asked="tokenize", outcome="model_not_found", **none) == 1
    assert b"made-up" not in text


async def test_retries_and_ejections_are_counted() -> None:
    """An attempt by how it ended; one after a failure is a retry."""
    not_now = refuse(InferloomError(Reason.NO_WORKER, "draining", retry_after=1.0))
    async with gateway_mesh(FakeWorker("a", script=not_now), FakeWorker("b", script=not_now)) as mesh:
        await mesh.http.post("/v1/chat/completions", json=CHAT)
        text = await read(mesh.http)
        for worker in ("a", "b"):
            assert value(text, "inferloom_attempts_total", worker=worker, outcome="no_worker") == 1
        assert value(text, "inferloom_retries_total", **MODEL) == 1
        assert value(text, "inferloom_ejections_total", reason="failures") == 0
    faulty = refuse(InferloomError(Reason.SERVER_ERROR, "bad luck"))
    async with gateway_mesh(FakeWorker("a", script=faulty)) as mesh:
        for _ in range(5):
            await mesh.http.post("/v1/chat/completions", json=CHAT)
        text = await read(mesh.http)
        # What fails is one of its two models.
        assert value(text, "inferloom_ejections_total", reason="model_failures") == 1
        assert value(text, "inferloom_ejections_total", reason="failures") == 0
        assert value(text, "inferloom_workers_failing", **MODEL) == 1
        assert value(text, "inferloom_workers", state="ready") == 1


async def test_requests_that_run_are_seen_and_those_that_left_are_counted(mesh: GatewayMesh) -> None:
    """In flight while they run, cancelled after that, with the tokens that they had."""
    mesh.worker.script = hang
    async with mesh.http.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as response:
        async for line in response.aiter_lines():
            if "Once" in line:
                break
        text = await read(mesh.http)
        assert value(text, "inferloom_calls_in_flight", worker="worker-1") == 1
    text = await ended(mesh, 1, door="rest", asked="generate", outcome="cancelled", **MODEL)
    assert value(text, "vllm:generation_tokens_total", **MODEL) == 1
    assert value(text, "inferloom_calls_in_flight", worker="worker-1") == 0


async def test_scrapes_and_health_checks_are_not_requests(mesh: GatewayMesh) -> None:
    """They would hide what matters."""
    for path in ("/metrics", "/health", "/metrics"):
        await mesh.http.get(path)
    assert b"inferloom_requests_total{" not in await read(mesh.http)


async def test_every_service_has_a_listener_of_its_own() -> None:
    """Only /metrics, only to be read, beside the REST façade's."""
    port = free_port()
    async with (
        gateway_mesh(FakeWorker(), gateway_metrics_listen=f"127.0.0.1:{port}"),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
    ):
        assert value(await read(http), "inferloom_workers", state="ready") == 1
        assert (await http.get("/")).status_code == 404
        assert (await http.post("/metrics")).status_code == 405
        head = await http.head("/metrics")
        assert (head.status_code, head.content) == (200, b"")
        opened = await http.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
        assert opened.text.endswith("# EOF\n")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x" * 100_000)  # no head at all
        assert await reader.read() == b""
        writer.close()
        assert value(await read(http), "inferloom_workers", state="ready") == 1


async def test_a_taken_port_is_one_sentence_unless_it_was_chosen(caplog: pytest.LogCaptureFixture) -> None:
    """The default gives way; what somebody asked for is had or refused."""
    caplog.set_level(logging.INFO)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with gateway_mesh(FakeWorker(), gateway_metrics_listen=f"127.0.0.1:{port}"):
                pass
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with running_worker("echo=echo", worker_metrics_listen=f"127.0.0.1:{port}"):
                pass
    gc.collect()  # grpc wants a running loop where it frees a server, and tracebacks hold this one in a cycle
    await asyncio.sleep(0)
    async with gateway_mesh(FakeWorker()) as first, gateway_mesh(FakeWorker()) as second:
        for mesh in (first, second):
            assert (await mesh.http.get("/health")).status_code == 200
    said = [r.getMessage() for r in caplog.records if "no listener for metrics" in r.getMessage()]
    assert said
    assert all("cannot listen on 127.0.0.1:9100" in sentence for sentence in said)


async def test_a_worker_counts_calls_tokens_and_load() -> None:
    """Under vLLM's names where they mean the same."""
    port = free_port()
    at = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}")
    async with at as http, running_worker("echo=echo", worker_metrics_listen=f"127.0.0.1:{port}") as worker:
        answers = [await worker.generate(text_request("one two three", **limited(4))) for _ in range(3)]
        await refused(worker.stub.Generate(text_request(model="made-up")))
        await worker.status()
        text = await read(http)
        usage = [answer.all("completed")[0].usage for answer in answers]
        model = {"model_name": "echo"}
        assert value(text, "inferloom_calls_total", method="Generate", outcome="ok", **model) == 3
        assert value(text, "vllm:prompt_tokens_total", **model) == sum(u.prompt_tokens for u in usage)
        assert value(text, "vllm:generation_tokens_total", **model) == sum(u.completion_tokens for u in usage)
        assert value(text, "vllm:prefix_cache_queries_total", **model) == sum(u.prompt_tokens for u in usage)
        assert value(text, "vllm:time_to_first_token_seconds_count", **model) == 3
        assert value(text, "vllm:e2e_request_latency_seconds_count", **model) == 3
        assert value(text, "vllm:num_requests_running", **model) == 0
        assert value(text, "vllm:num_requests_waiting", **model) == 0
        assert (
            value(text, "inferloom_calls_total", method="Generate", outcome="model_not_found", model_name="")
            == 1
        )
        assert b"made-up" not in text
        assert b"GetStatus" not in text


async def test_tokens_of_a_cancelled_generation_are_counted() -> None:
    """They were computed, and sent."""
    port = free_port()
    at = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}")
    settings: dict[str, Any] = {"worker_metrics_listen": f"127.0.0.1:{port}"}
    async with at as http, running_worker("echo=echo:delay_ms=20", **settings) as worker:
        call = worker.stub.Generate(text_request("a b c d e f g h i j k l m n o p", **limited(64)))
        seen = 0
        while seen < 3:
            event = await call.read()
            seen += len(event.delta.token_ids)
        call.cancel()
        async with asyncio.timeout(PATIENCE_S):
            labels = {"method": "Generate", "model_name": "echo", "outcome": "cancelled"}
            while value(text := await read(http), "inferloom_calls_total", **labels) != 1:
                pass  # as above
        assert 3 <= (value(text, "vllm:generation_tokens_total", model_name="echo") or 0) < 64


@pytest.fixture
async def registry() -> AsyncIterator[tuple[Address, httpx.AsyncClient]]:
    """A registry, and a client of its metrics."""
    stop, port = asyncio.Event(), free_port()
    ready: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    settings = RegistrySettings(registry_listen=ANYWHERE, registry_metrics_listen=Address("127.0.0.1", port))
    serving = asyncio.create_task(serve(settings, stop, ready.set_result))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        yield await ready, http
    stop.set()
    await serving


async def test_a_registry_counts_leases_and_what_happens_to_them(
    registry: tuple[Address, httpx.AsyncClient],
) -> None:
    """Grants, renewals, and ends by their reason: a worker that comes back is none that another fenced."""
    address, http = registry
    worker = registry_pb2.Worker(id="w", address="127.0.0.1:7100", capacity=1, state=STATE)
    async with open_channel(address) as channel:
        stub: Any = RegistryServiceStub(channel)
        await stub.Register(registry_pb2.RegisterRequest(worker=worker))
        lease = await stub.Register(registry_pb2.RegisterRequest(worker=worker))
        call = stub.KeepAlive()
        for _ in range(3):
            await call.write(registry_pb2.KeepAliveRequest(lease_id=lease.lease_id, epoch=lease.epoch))
            await call.read()
        call.cancel()
        await asyncio.sleep(2 * TICK_S)  # the loop is measured once
        text = await read(http)
        assert value(text, "inferloom_leases", state="active") == 1
        assert value(text, "inferloom_leases", state="suspect") == 0
        assert value(text, "inferloom_lease_registrations_total") == 2
        assert value(text, "inferloom_lease_renewals_total") == 3
        assert value(text, "inferloom_lease_losses_total", reason="replaced") == 1
        assert value(text, "inferloom_lease_losses_total", reason="fenced") == 0
        assert (value(text, "inferloom_event_loop_delay_seconds_count") or 0) > 0
        worker.address = "127.0.0.1:7101"
        lease = await stub.Register(registry_pb2.RegisterRequest(worker=worker))
        await stub.Deregister(registry_pb2.DeregisterRequest(lease_id=lease.lease_id, epoch=lease.epoch))
        text = await read(http)
        assert value(text, "inferloom_leases", state="active") == 0
        assert value(text, "inferloom_lease_losses_total", reason="fenced") == 1
        assert value(text, "inferloom_lease_losses_total", reason="deregistered") == 1


async def test_a_stream_that_breaks_is_counted_by_its_error(mesh: GatewayMesh) -> None:
    """Though its status was 200."""

    async def breaks(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request, worker.id)
        yield delta("a")
        raise InferloomError(Reason.SERVER_ERROR, "bad luck")

    mesh.worker.script = breaks
    await mesh.http.post("/v1/chat/completions", json={**CHAT, "stream": True})
    await ended(mesh, 1, door="rest", asked="generate", outcome="server_error", **MODEL)
