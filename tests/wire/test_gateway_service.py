"""The gateway as a service: its small endpoints, its gRPC façade, its start and its stop."""

import asyncio
import socket
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.service import serve
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.net import Address
from tests.patience import PATIENCE_S, within
from tests.wire.fake_worker import ANYWHERE, FakeWorker, hang, paused, say_hello
from tests.wire.gateway_mesh import LIST, GatewayMesh, gateway_mesh
from tests.wire.standard import health_stub, reflection_stub

CHAT = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}


async def test_health_and_version_answer(mesh: GatewayMesh) -> None:
    """A gateway with a worker is live and ready, and says its version."""
    assert (await mesh.http.get("/health/live")).json()["status"] == "live"
    assert (await mesh.http.get("/health/ready")).json() == {"status": "ready"}
    assert (await mesh.http.get("/version")).json() == {"version": "0.1.0"}


async def test_a_gateway_without_workers_is_not_ready() -> None:
    """Without a model to call, readiness is 503; the process is live all the same."""
    async with gateway_mesh() as mesh:
        assert (await mesh.http.get("/health/ready")).status_code == 503
        assert (await mesh.http.get("/health/live")).status_code == 200
        assert (await mesh.http.post("/v1/chat/completions", json=CHAT)).status_code == 404


async def test_a_request_keeps_its_callers_name(mesh: GatewayMesh) -> None:
    """A valid x-request-id names the request on every face; an invalid one is replaced."""
    named = await mesh.http.post("/v1/chat/completions", json=CHAT, headers={"x-request-id": "my-name"})
    assert named.headers["x-request-id"] == "my-name"
    assert named.json()["id"] == "chatcmpl-my-name"
    assert mesh.worker.requests[0].request_id == "my-name"
    for bad in ("two words", "x" * 129):
        made = await mesh.http.get("/v1/models", headers={"x-request-id": bad})
        assert made.headers["x-request-id"] not in ("", bad)


async def test_tokens_go_both_ways(mesh: GatewayMesh) -> None:
    """/tokenize gives ids for text and conversations; /detokenize gives text back."""
    text = await mesh.http.post("/tokenize", json={"model": "chat-model", "prompt": "ab"})
    assert text.json() == {"count": 2, "max_model_len": 512, "tokens": [97, 98], "token_strs": None}
    chat = await mesh.http.post("/tokenize", json={**CHAT, "return_token_strs": True})
    assert chat.json()["token_strs"] == ["H", "i"]
    back = await mesh.http.post("/detokenize", json={"model": "chat-model", "tokens": [97, 98]})
    assert back.json() == {"prompt": "ab"}
    for both in ({"model": "chat-model"}, {**CHAT, "prompt": "a"}):
        refused = await mesh.http.post("/tokenize", json=both)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "prompt")


async def test_the_older_embeddings_path_works(mesh: GatewayMesh) -> None:
    """/v1/engines/{model}/embeddings takes the model from the path."""
    response = await mesh.http.post("/v1/engines/org/embedder/embeddings", json={"input": "abc"})
    assert response.json()["data"][0]["embedding"] == [3, 0, 0, 0.5]


async def test_the_documentation_describes_the_bodies(mesh: GatewayMesh) -> None:
    """/docs is served, and every body's schema in the OpenAPI document resolves."""
    assert (await mesh.http.get("/docs")).status_code == 200
    document = (await mesh.http.get("/openapi.json")).json()
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize", "/detokenize"):
        content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        name = content["schema"]["$ref"].rpartition("/")[2]
        assert "properties" in document["components"]["schemas"][name]
        assert content["examples"]


async def test_cors_is_off_unless_asked_for(mesh: GatewayMesh) -> None:
    """Another origin's page is let in only with the setting."""
    origin = {"origin": "http://elsewhere"}
    assert "access-control-allow-origin" not in (await mesh.http.get("/v1/models", headers=origin)).headers
    async with gateway_mesh(cors="*") as open_mesh:
        headers = (await open_mesh.http.get("/v1/models", headers=origin)).headers
    assert headers["access-control-allow-origin"] == "*"


async def test_cors_lets_in_the_pages_that_are_named() -> None:
    """And answers what Chrome asks before a public page may call this machine."""
    asks = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,authorization",
        "access-control-request-private-network": "true",
    }
    async with gateway_mesh(cors="https://app.example, http://localhost:5173") as mesh:
        named = await mesh.http.options(
            "/v1/chat/completions", headers={"origin": "http://localhost:5173", **asks}
        )
        other = await mesh.http.options(
            "/v1/chat/completions", headers={"origin": "https://app.example.evil", **asks}
        )
    assert named.status_code == 200
    assert named.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert named.headers["access-control-allow-private-network"] == "true"
    assert "access-control-allow-origin" not in other.headers


async def test_an_authorization_header_is_accepted(mesh: GatewayMesh) -> None:
    """Any key is as good as none."""
    response = await mesh.http.get("/v1/models", headers={"authorization": "Bearer anything"})
    assert response.status_code == 200


async def test_the_grpc_facade_passes_events_on_unchanged(mesh: GatewayMesh) -> None:
    """Generate through the gateway gives the worker's own events, and a name where none was given."""
    request = pb.GenerateRequest(model="chat-model", request_id="r", text="a")
    events = [event async for event in mesh.stub.Generate(request)]
    assert events == [event async for event in say_hello(mesh.worker, request)]
    await mesh.stub.Generate(pb.GenerateRequest(model="chat-model", text="a")).read()
    assert mesh.worker.requests[1].request_id


async def test_the_grpc_facade_routes_every_call(mesh: GatewayMesh) -> None:
    """Embed, Rerank, Tokenize, Detokenize and ListModels reach a worker that can do them."""
    embed = mesh.stub.Embed(pb.EmbedRequest(model="org/embedder", inputs=[pb.EmbedInput(text="abc")]))
    events = [event.WhichOneof("event") async for event in embed]
    assert events == ["started", "part", "completed"]
    tokens = await mesh.stub.Tokenize(pb.TokenizeRequest(model="chat-model", text="ab"))
    assert list(tokens.token_ids) == [97, 98]
    text = await mesh.stub.Detokenize(pb.DetokenizeRequest(model="chat-model", token_ids=[97, 98]))
    assert text.text == "ab"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.stub.Rerank(pb.RerankRequest(model="chat-model", query="a", documents=["b"]))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert [model.id for model in (await mesh.stub.ListModels(LIST)).models] == ["chat-model", "org/embedder"]


async def test_rerank_reaches_a_ranker() -> None:
    """Rerank is routed to a worker whose model ranks."""
    async with gateway_mesh(FakeWorker(models=(pb.Model(id="ranker", tasks=[pb.TASK_RERANK]),))) as mesh:
        request = pb.RerankRequest(model="ranker", query="a", documents=["b", "c"])
        assert [item.index for item in (await mesh.stub.Rerank(request)).results] == [0, 1]


async def test_health_and_reflection_are_served_over_grpc(mesh: GatewayMesh) -> None:
    """grpc.health.v1 says SERVING, and reflection lists the service."""
    check = health_stub(mesh.channel).Check
    for service in ("", "inferloom.v1.InferenceService"):
        answer = await check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    call = reflection_stub(mesh.channel).ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    services = (await call.read()).list_services_response.service
    await call.done_writing()
    assert "inferloom.v1.InferenceService" in [service.name for service in services]


async def test_a_taken_port_is_a_clear_error() -> None:
    """A REST or gRPC port that another process has is an OSError that names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        for field, other in (
            ("gateway_listen", "gateway_grpc_listen"),
            ("gateway_grpc_listen", "gateway_listen"),
        ):
            listen: dict[str, Any] = {field: address, other: ANYWHERE, "registry": Address("127.0.0.1", 1)}
            settings = GatewaySettings(**listen)
            with pytest.raises(OSError, match=f"cannot listen on {address}"):
                await serve(settings, asyncio.Event(), lambda rest, grpc: None)


async def test_a_gateway_starts_without_its_registry() -> None:
    """A registry that cannot be reached delays the start by at most about a second."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        registry = Address("127.0.0.1", unheard.getsockname()[1])
        settings = GatewaySettings(
            registry=registry, gateway_listen=ANYWHERE, gateway_grpc_listen=ANYWHERE, drain_limit_s=0
        )
        stop = asyncio.Event()
        ready: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(settings, stop, lambda rest, grpc: ready.set_result(rest)))
        async with within(3):
            rest = await ready
        async with httpx.AsyncClient(base_url=f"http://{rest}") as http:
            assert (await http.get("/health/ready")).status_code == 503
        stop.set()
        await serving


async def test_a_stop_lets_running_streams_finish() -> None:
    """Told to stop, a gateway takes nothing new and finishes what it has."""
    go_on = asyncio.Event()
    async with gateway_mesh(FakeWorker(script=paused(go_on)), drain_limit_s=20) as mesh:
        streaming = asyncio.create_task(mesh.http.post("/v1/chat/completions", json={**CHAT, "stream": True}))
        rpc = mesh.stub.Generate(pb.GenerateRequest(model="chat-model", text="a"))
        assert (await rpc.read()).HasField("started")
        await mesh.worker.runs(2)
        mesh.stop.set()
        async with asyncio.timeout(PATIENCE_S):
            while await _connects(mesh.rest):
                pass
        go_on.set()
        assert "[DONE]" in (await streaming).text
        events = [(await rpc.read()).WhichOneof("event") for _ in range(5)]
        assert events[-1] == "completed"


async def test_a_stop_cuts_what_outlasts_the_drain() -> None:
    """After the drain limit, streams on both faces are ended and their worker's calls cancelled."""
    async with gateway_mesh(FakeWorker(script=hang), drain_limit_s=0) as mesh:
        rpc = mesh.stub.Generate(pb.GenerateRequest(model="chat-model", text="a"))
        assert (await rpc.read()).HasField("started")
        async with mesh.http.stream(
            "POST", "/v1/chat/completions", json={**CHAT, "stream": True}
        ) as response:
            lines = response.aiter_lines()
            assert [await anext(lines), (await anext(lines))[:6]] == ["id: 0", "data: "]
            mesh.stop.set()
            await mesh.worker.runs(0)
            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in lines:
                    pass


async def _connects(address: Address) -> bool:
    try:
        _, writer = await asyncio.open_connection(*address)
    except OSError:
        return False
    writer.close()
    return True
