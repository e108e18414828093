"""What a gateway says of models before it can know, and whether its two doors agree on being ready."""

import asyncio
from dataclasses import replace
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom_gateway.service import serve
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.channel import open_channel
from inferloom_mesh.errors import Reason
from inferloom_mesh.status import from_rpc_error
from tests.patience import PATIENCE_S
from tests.wire.fake_worker import ANYWHERE, FakeRegistry, FakeWorker
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.standard import health_stub

CHAT = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def health(mesh: GatewayMesh) -> Any:
    """What gRPC's health check says."""
    check = health_stub(mesh.channel).Check
    return (await check(health_pb2.HealthCheckRequest())).status


async def becomes(mesh: GatewayMesh, status: Any) -> None:
    """Wait until gRPC's health is ``status``."""
    watch = health_stub(mesh.channel).Watch(health_pb2.HealthCheckRequest())
    async with asyncio.timeout(PATIENCE_S):
        while (await watch.read()).status != status:
            pass
    watch.cancel()


async def refusal(mesh: GatewayMesh) -> tuple[int, str, str | None]:
    """Status, code and Retry-After of a chat request."""
    response = await mesh.http.post("/v1/chat/completions", json=CHAT)
    return response.status_code, response.json()["error"]["code"], response.headers.get("retry-after")


async def test_before_the_registry_is_heard_no_model_is_denied() -> None:
    """Without a registry every model is 503 with Retry-After on both doors, and health is NOT_SERVING."""
    async with gateway_mesh() as mesh:
        pass
    settings = GatewaySettings(
        registry=mesh.registry.address, gateway_listen=ANYWHERE, gateway_grpc_listen=ANYWHERE, drain_limit_s=0
    )
    stop = asyncio.Event()
    listening: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(settings, stop, lambda *found: listening.set_result(found)))
    rest, address = await listening
    async with httpx.AsyncClient(base_url=f"http://{rest}") as http, open_channel(address) as channel:
        alone = replace(mesh, http=http, channel=channel)
        assert await refusal(alone) == (503, "no_worker", "1")
        assert (await http.get("/v1/models/chat-model")).status_code == 503
        assert (await http.get("/health/ready")).status_code == 503
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await alone.stub.Generate(pb.GenerateRequest(model="chat-model", text="a")).read()
        assert from_rpc_error(caught.value).reason is Reason.NO_WORKER
        assert await health(alone) == NOT_SERVING
    stop.set()
    await serving


async def test_a_set_that_is_not_whole_denies_no_model() -> None:
    """While the registry settles, an unknown model may only not have come back; a known one is answered."""
    settling = FakeRegistry.__init__

    def init(self: FakeRegistry) -> None:
        settling(self)
        self.settling = True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeRegistry, "__init__", init)
        async with gateway_mesh(FakeWorker(models=(pb.Model(id="other", tasks=[pb.TASK_CHAT]),))) as mesh:
            assert await refusal(mesh) == (503, "no_worker", "1")
            known = await mesh.http.post("/v1/chat/completions", json={**CHAT, "model": "other"})
            assert known.status_code == 200
            assert await health(mesh) == NOT_SERVING


async def test_a_model_that_is_being_loaded_is_not_denied() -> None:
    """Named in a worker's list, it is 503 with Retry-After; one that nobody loads is 404."""
    async with gateway_mesh(FakeWorker(models=())) as mesh:
        entry = mesh.worker.registered(state=registry_pb2.WORKER_STATE_STARTING)
        entry.worker.loading.append("chat-model")
        mesh.registry.put(entry)
        async with asyncio.timeout(PATIENCE_S):
            while (await refusal(mesh))[0] != 503:
                pass
        assert await refusal(mesh) == (503, "no_worker", "5")
        other = await mesh.http.post("/v1/chat/completions", json={**CHAT, "model": "other"})
        assert other.status_code == 404


async def test_health_follows_readiness(mesh: GatewayMesh) -> None:
    """gRPC health is SERVING while there is a model to call, and NOT_SERVING without one, as over REST."""
    await becomes(mesh, SERVING)
    assert (await mesh.http.get("/health/ready")).status_code == 200
    mesh.registry.remove("worker-1")
    await becomes(mesh, NOT_SERVING)
    assert (await mesh.http.get("/health/ready")).status_code == 503
    mesh.registry.put(mesh.worker.registered(epoch=2))
    await becomes(mesh, SERVING)
