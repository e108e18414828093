"""What an operator does with grpcurl and no files of ours."""

import json
import subprocess

import pytest

from tests.mesh.conftest import CHAT, EMBEDDER
from tests.mesh.processes import BIN, Mesh, grpcurl, messages

SERVICES = {
    "grpc": {"inferloom.v1.InferenceService", "inferloom.v1.GatewayService"},
    "worker": {"inferloom.v1.InferenceService", "inferloom.v1.WorkerService"},
    "registry": {"inferloom.v1.RegistryService"},
}


@pytest.mark.parametrize("face", SERVICES)
def test_services_are_listed_and_healthy(demo: Mesh, face: str) -> None:
    """Reflection names each service, and health answers for the server and for each of them."""
    address = getattr(demo, face)
    listed = set(grpcurl(address, "list").split())
    assert SERVICES[face] | {"grpc.health.v1.Health"} <= listed
    assert {"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"} <= listed
    for service in ("", *SERVICES[face]):
        health = grpcurl(address, "grpc.health.v1.Health/Check", data=json.dumps({"service": service}))
        assert json.loads(health) == {"status": "SERVING"}


def test_services_and_messages_are_described(demo: Mesh) -> None:
    """Enough to write a request by hand."""
    service = grpcurl(demo.grpc, "describe", "inferloom.v1.InferenceService")
    assert "rpc Generate ( .inferloom.v1.GenerateRequest )" in service
    assert ".inferloom.v1.ChatInput chat" in grpcurl(demo.grpc, "describe", "inferloom.v1.GenerateRequest")


def test_reflection_has_both_of_its_names(demo: Mesh) -> None:
    """grpcurl asks by the stable one and falls back; here it describes each."""
    for name in ("grpc.reflection.v1", "grpc.reflection.v1alpha"):
        described = grpcurl(demo.grpc, "describe", f"{name}.ServerReflection")
        assert f"rpc ServerReflectionInfo ( stream .{name}.ServerReflectionRequest )" in described


def test_the_gateway_tells_what_it_knows(demo: Mesh) -> None:
    """The mesh whole, and a request by its name."""
    service = "inferloom.v1.GatewayService"
    mesh = json.loads(grpcurl(demo.grpc, f"{service}/GetMesh"))["mesh"]
    assert [worker["id"] for worker in mesh["workers"]] == ["worker-1"]
    assert mesh["processes"][0]["ready"]
    asked = json.dumps({"model": CHAT, "text": "Once", "request_id": "told", "stopping": {"max_tokens": 2}})
    grpcurl(demo.grpc, "inferloom.v1.InferenceService/Generate", data=asked)
    answer = json.loads(grpcurl(demo.grpc, f"{service}/GetRequest", data='{"request_id": "told"}'))
    [record] = answer["records"]
    assert (record["model"], record["state"]) == (CHAT, "REQUEST_STATE_DONE")
    assert [candidate["worker"] for candidate in record["attempts"][0]["candidates"]] == ["worker-1"]


def test_the_registry_lists_its_workers(demo: Mesh) -> None:
    """ListWorkers, whole and by model."""
    method = "inferloom.v1.RegistryService/ListWorkers"
    for request in ({}, {"model": EMBEDDER}):
        [worker] = json.loads(grpcurl(demo.registry, method, data=json.dumps(request)))["workers"]
        assert worker["worker"]["id"] == "worker-1"
        assert worker["lease_state"] == "LEASE_STATE_ACTIVE"
    assert "workers" not in json.loads(grpcurl(demo.registry, method, data='{"model": "none"}'))


def test_watching_the_registry_starts_with_a_snapshot(demo: Mesh) -> None:
    """The stream goes on until the caller leaves, here after a second."""
    command = [str(BIN / "grpcurl"), "-plaintext", "-max-time", "1", demo.registry]
    done = subprocess.run(
        [*command, "inferloom.v1.RegistryService/Watch"], capture_output=True, text=True, check=False
    )
    first = messages(done.stdout)[0]
    assert [worker["worker"]["id"] for worker in first["snapshot"]["workers"]] == ["worker-1"]


def test_the_gateway_lists_its_models(demo: Mesh) -> None:
    """In order of id, with what each can do."""
    models = json.loads(grpcurl(demo.grpc, "inferloom.v1.InferenceService/ListModels"))["models"]
    assert [model["id"] for model in models] == [EMBEDDER, CHAT]
    assert models[0]["embedding_dimensions"] == 384
    assert models[1]["context_length"] > 1000
