"""Who may call from where, and what is written of who did what."""

import json
from pathlib import Path
from typing import Any

import grpc
import pytest

from inferloom.v1 import worker_pb2
from inferloom_mesh.errors import Reason
from inferloom_mesh.secret import MeshSecret
from tests.wire.fake_worker import FakeWorker
from tests.wire.gateway_mesh import LIST, gateway_mesh
from tests.wire.running_worker import error_of, running_worker

SECRET = "a secret of this mesh"


def lines(file: Path) -> list[dict[str, Any]]:
    """What a log holds."""
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_changes_and_refusals_of_a_worker_are_written(tmp_path: Path) -> None:
    """Each with who it was, and without what opens anything."""
    file = tmp_path / "audit.jsonl"
    peer = MeshSecret(SECRET).metadata
    async with running_worker("echo=echo", mesh_secret=SECRET, audit_log=file) as worker:
        with pytest.raises(grpc.aio.AioRpcError):
            await worker.control.Drain(worker_pb2.DrainRequest())
        load = worker_pb2.LoadModelRequest(model="more", spec="echo")
        await worker.control.LoadModel(load, metadata=peer)
        await worker.control.UnloadModel(worker_pb2.UnloadModelRequest(model="more"), metadata=peer)
        await worker.control.Drain(worker_pb2.DrainRequest(), metadata=peer)
    found = lines(file)
    assert [line["event"] for line in found] == ["refused", "model.load", "model.unload", "worker.drain"]
    assert found[0]["what"] == "/inferloom.v1.WorkerService/Drain"
    assert found[0]["reason"] == "NOT_A_PEER"
    assert (found[1]["model"], found[1]["spec"]) == ("more", "echo")
    assert all(line["who"].startswith("ipv4:127.0.0.1:") for line in found)
    assert SECRET not in file.read_text()
    assert peer[0][1] not in file.read_text()


async def test_a_service_takes_calls_from_allowed_networks_only(tmp_path: Path) -> None:
    """A worker, and both doors of a gateway, where proxies of ours may speak for others."""
    async with running_worker("echo=echo", allow="10.0.0.0/8") as worker:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await worker.control.GetStatus(worker_pb2.GetStatusRequest())
        assert error_of(caught.value).reason is Reason.PERMISSION_DENIED
    file = tmp_path / "audit.jsonl"
    settings = {"allow": "10.0.0.0/8", "trusted_proxies": "127.0.0.0/8", "audit_log": file}
    async with gateway_mesh(FakeWorker(), **settings) as mesh:
        refused = await mesh.http.get("/v1/models")
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "permission_denied"
        for sent, status in (("10.1.2.3", 200), ("10.1.2.3, 8.8.8.8", 403)):
            answer = await mesh.http.get("/v1/models", headers={"x-forwarded-for": sent})
            assert answer.status_code == status
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await mesh.stub.ListModels(LIST)
        assert error_of(caught.value).reason is Reason.PERMISSION_DENIED
    assert [line["who"].partition(":")[0] for line in lines(file)] == ["127.0.0.1", "8.8.8.8", "ipv4"]
