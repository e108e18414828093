"""Keys and limits at the contract's doors: the same refusals as by gRPC, in each protocol's own words."""

from pathlib import Path
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.access.api_key import Limits
from inferloom_mesh.errors import Reason
from tests.wire.contract_clients import DOORS, METHODS, RefusedError, ask, responses
from tests.wire.fake_worker import FakeWorker
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.test_keys import SECRET, Keys

TOKENIZE = pb.TokenizeRequest(model="chat-model", text="Hi")
GENERATE = pb.GenerateRequest(model="chat-model", text="Hi")


async def outcome(mesh: GatewayMesh, door: str, method: str, request: Any, key: str = "") -> Any:
    """Why a call is refused, by which status; or that it is answered."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        async for _ in responses(mesh, door, METHODS[method], request, headers=headers):
            pass
    except RefusedError as refusal:
        return refusal.error.reason, refusal.code
    return "answered"


async def test_no_door_opens_without_a_key(tmp_path: Path) -> None:
    """A wrong one neither; a scoped one only what it is for; and one that has no requests left."""
    keys = Keys(tmp_path)
    key, reader = keys.make(), keys.make(endpoints=("tokenize",))
    slow = keys.make(limits=Limits(requests_per_minute=1))
    stranger = (Reason.INVALID_API_KEY, "unauthenticated")
    async with gateway_mesh(FakeWorker(), keys=keys.place, mesh_secret=SECRET) as mesh:
        for door in DOORS:
            for method, request in (("Tokenize", TOKENIZE), ("Generate", GENERATE)):
                assert await outcome(mesh, door, method, request) == stranger
                assert await outcome(mesh, door, method, request, "sk-wrong") == stranger
                assert await outcome(mesh, door, method, request, key) == "answered"
            assert await outcome(mesh, door, "Tokenize", TOKENIZE, reader) == "answered"
            denied = await outcome(mesh, door, "Generate", GENERATE, reader)
            assert denied == (Reason.PERMISSION_DENIED, "permission_denied")
        assert await outcome(mesh, "grpc", "Generate", GENERATE, slow) == "answered"
        over = (Reason.RATE_LIMIT_EXCEEDED, "resource_exhausted")
        for door in DOORS:
            assert await outcome(mesh, door, "Generate", GENERATE, slow) == over
        health = await mesh.http.post("/grpc.health.v1.Health/Check", json={})
        assert health.json() == {"status": "SERVING"}


async def test_models_are_those_that_a_key_opens(tmp_path: Path) -> None:
    """At every door."""
    keys = Keys(tmp_path)
    key = keys.make(models=("org/*",))
    async with gateway_mesh(FakeWorker(), keys=keys.place, mesh_secret=SECRET) as mesh:
        for door in DOORS:
            listed = await ask(
                mesh,
                door,
                "ListModels",
                pb.ListModelsRequest(),
                headers={"authorization": f"Bearer {key}"},
            )
            assert [model.id for model in listed.models] == ["org/embedder"]
            with pytest.raises(RefusedError) as caught:
                await ask(mesh, door, "Tokenize", TOKENIZE, headers={"authorization": f"Bearer {key}"})
            assert caught.value.error.reason is Reason.PERMISSION_DENIED


@pytest.mark.parametrize("door", ["grpc", "connect-proto", "grpc-web-proto"])
async def test_a_stream_is_its_tenants(tmp_path: Path, door: str) -> None:
    """A colleague's key goes on with it; for another tenant there is none; a key that is not for streams
    opens none, whoever's it is."""
    keys = Keys(tmp_path)
    mine, ours, theirs = keys.make("acme"), keys.make("acme"), keys.make("other")
    narrow = keys.make("acme", endpoints=("chat", "completions"))
    request = pb.GenerateRequest(model="chat-model", text="Hi", request_id="mine")
    async with gateway_mesh(FakeWorker(), keys=keys.place, mesh_secret=SECRET) as mesh:
        headers = {"authorization": f"Bearer {mine}", "x-inferloom-resumable": "20"}
        made = [each async for each in responses(mesh, door, METHODS["Generate"], request, headers=headers)]
        assert made[-1].HasField("sequence")
        again = pb.ContinueGenerateRequest(stream="mine")
        assert await outcome(mesh, door, "ContinueGenerate", again, ours) == "answered"
        for key, reason, code in (
            (theirs, Reason.NOT_FOUND, "not_found"),
            (narrow, Reason.PERMISSION_DENIED, "permission_denied"),
            ("", Reason.INVALID_API_KEY, "unauthenticated"),
        ):
            assert await outcome(mesh, door, "ContinueGenerate", again, key) == (reason, code)
