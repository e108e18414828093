"""What a gateway knows, asked through the contract as an operator would."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from inferloom.v1 import gateway_pb2 as pb
from inferloom.v1.gateway_pb2_grpc import GatewayServiceStub
from inferloom.v1.registry_pb2 import (
    LEASE_LOSS_EXPIRED,
    LEASE_STATE_ACTIVE,
    WORKER_STATE_DRAINING,
    WORKER_STATE_READY,
)
from inferloom_cli.happening_words import sentence
from inferloom_cli.top_rows import standing as standing_of
from inferloom_gateway.console.mesh_rows import sections
from inferloom_mesh.durations import seconds
from inferloom_mesh.errors import InferloomError, Reason
from tests.patience import PATIENCE_S
from tests.wire.fake_worker import FakeWorker, refuse
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.test_gateway_migration import BODY, drained, killed, spoiled, streamed, worker
from tests.wire.test_keys import SECRET as MESH_SECRET
from tests.wire.test_keys import Keys, follows

if TYPE_CHECKING:
    from inferloom.v1.gateway_pb2_grpc import GatewayServiceAsyncStub

SECRET = "what nobody else may read"  # a prompt


def asking(mesh: GatewayMesh) -> "GatewayServiceAsyncStub":
    """What asks the gateway."""
    return GatewayServiceStub(mesh.channel)


async def looked(mesh: GatewayMesh) -> pb.Mesh:
    """How the mesh looks."""
    await asyncio.sleep(0.6)  # a look is half a second apart from the next
    return (await asking(mesh).GetMesh(pb.GetMeshRequest())).mesh


async def record_of(mesh: GatewayMesh, name: str) -> pb.RequestRecord:
    """The one request of a name."""
    [record] = (await asking(mesh).GetRequest(pb.GetRequestRequest(request_id=name))).records
    return record


async def test_the_mesh_is_told_whole() -> None:
    """The gateway with its name and registry, each worker with its state, each model with its rates."""
    async with gateway_mesh(FakeWorker(), gateway_name="front", zone="here") as mesh:
        for _ in range(3):
            assert (await mesh.http.post("/v1/chat/completions", json=BODY)).status_code == 200
        seen = await looked(mesh)
    [process], [one] = seen.processes, seen.workers
    assert (process.gateway, process.zone, process.ready) == ("front", "here", True)
    assert process.grpc_address == str(mesh.grpc)
    assert [(each.address, each.followed) for each in process.registries] == [
        (str(mesh.registry.address), True)
    ]
    assert (process.totals.requests, process.totals.failures) == (3, 0)
    assert process.event_loop.ticks > 0
    assert process.resident_bytes > 2**20
    assert one.transports == ["grpc"]
    assert (one.id, one.state, one.lease_state) == ("worker-1", WORKER_STATE_READY, LEASE_STATE_ACTIVE)
    assert {model.id: model.usable for model in seen.models} == {"chat-model": 1, "org/embedder": 1}
    total = seen.models[0].activity.total
    assert total.count == 3
    assert 0 < seconds(total.mean) <= seconds(total.longest)
    assert sum(total.buckets) == 3
    assert seen.activity.total.count == 3


async def test_a_model_that_fails_on_a_worker_is_told_of() -> None:
    """In the contract's message, the console's row, and as what happened; the worker's others go on."""
    faulty = refuse(InferloomError(Reason.SERVER_ERROR, "bad luck"))
    async with gateway_mesh(FakeWorker(script=faulty)) as mesh:
        await looked(mesh)
        for _ in range(5):
            await mesh.http.post("/v1/chat/completions", json=BODY)
        seen = await looked(mesh)
    [one] = seen.workers
    [standing] = one.standings
    assert not standing.HasField("ejected_for")
    [failing] = standing.ejected_models
    assert (failing.model, 20 < seconds(failing.time_left) <= 30) == ("chat-model", True)
    row = sections(seen)["workers"][one.id]
    assert row["state"] == "ready"
    assert row["why"].startswith("No requests for chat-model for ")
    assert standing_of(one).plain.startswith("chat-model ejected ")
    told = [sentence(each) for each in seen.happenings if each.kind == pb.HAPPENING_KIND_WORKER_EJECTED]
    assert len(told) == 1
    assert told[0].startswith(f"chat-model at {one.id} is left alone for a while")


async def test_a_record_tells_all_but_what_was_said(mesh: GatewayMesh) -> None:
    """Who asked, which workers came into question, how long each part took; no prompt and no answer."""
    body = {**BODY, "messages": [{"role": "user", "content": SECRET}]}
    answer = await mesh.http.post("/v1/chat/completions", json=body, headers={"x-request-id": "r1"})
    record = await record_of(mesh, "r1")
    assert (record.state, record.method, record.model) == (pb.REQUEST_STATE_DONE, "generate", "chat-model")
    [attempt] = record.attempts
    assert (attempt.worker, attempt.epoch, [c.worker for c in attempt.candidates]) == (
        "worker-1",
        1,
        ["worker-1"],
    )
    assert seconds(attempt.began) <= seconds(attempt.accepted) <= seconds(attempt.ended)
    assert record.completion_tokens == answer.json()["usage"]["completion_tokens"]
    assert 599 < seconds(record.budget) <= 600
    text = record.SerializeToString()
    assert SECRET.encode() not in text
    assert answer.json()["choices"][0]["message"]["content"].encode() not in text


async def test_what_is_wrong_with_a_request_is_named_and_not_quoted(mesh: GatewayMesh) -> None:
    """Messages about a request may quote it, so its record has the reason and the field."""
    body = {**BODY, "model": SECRET}
    await mesh.http.post("/v1/chat/completions", json=body, headers={"x-request-id": "r1"})
    record = await record_of(mesh, "r1")
    assert record.state == pb.REQUEST_STATE_FAILED
    assert (record.error.reason, record.error.param, record.error.message) == ("MODEL_NOT_FOUND", "model", "")


async def test_requests_are_listed_by_what_is_asked_for(mesh: GatewayMesh) -> None:
    """Newest first; by model, worker, trouble, and what runs."""
    stub, post = asking(mesh), mesh.http.post
    for name, model in (("r1", "chat-model"), ("r2", "none")):
        await post("/v1/chat/completions", json={**BODY, "model": model}, headers={"x-request-id": name})

    async def names(**asked: object) -> list[str]:
        answer = await stub.ListRequests(pb.ListRequestsRequest(**asked))  # type: ignore[arg-type] # its fields
        return [each.request_id for each in answer.requests]

    assert await names() == ["r2", "r1"]
    assert await names(limit=1) == ["r2"]
    assert await names(model="chat-model") == ["r1"]
    assert await names(worker="worker-1") == ["r1"]
    assert await names(troubled=True) == ["r2"]
    assert await names(running=True) == []
    held = asyncio.Event()

    async def waits(request: object) -> None:
        await held.wait()

    mesh.worker.on_unary = waits
    asked = asyncio.create_task(
        post("/tokenize", json={"model": "chat-model", "prompt": "a"}, headers={"x-request-id": "r3"})
    )
    async with asyncio.timeout(PATIENCE_S):
        while not (running := await names(running=True)):
            pass
    assert running == ["r3"]
    assert (await record_of(mesh, "r3")).state == pb.REQUEST_STATE_RUNNING
    held.set()
    await asked


async def test_what_cannot_be_asked_is_refused(mesh: GatewayMesh) -> None:
    """In the words of the error table; who is not known is told where was looked, and how far back."""
    stub = asking(mesh)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stub.GetRequest(pb.GetRequestRequest(request_id="who"))
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND
    assert "the last 1000 that ended" in (failure.value.details() or "")
    for asked in (
        stub.GetRequest(pb.GetRequestRequest()),
        stub.GetRequest(pb.GetRequestRequest(request_id="a b")),
        stub.ListRequests(pb.ListRequestsRequest(limit=1001)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await asked
        assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(("how", "why"), [(killed, "disconnected"), (drained, "no_worker")])
async def test_a_move_is_told_of_and_counted(how: object, why: str) -> None:
    """In the record, among what happened, and as a metric: from where to where, why, and how far it was."""
    async with gateway_mesh(worker("a"), worker("b")) as mesh:
        met = spoiled(mesh, how)
        await streamed(mesh)
        [record] = (await asking(mesh).ListRequests(pb.ListRequestsRequest(troubled=True))).requests
        seen = await looked(mesh)
        metrics = (await mesh.http.get("/metrics")).text
    [move] = record.moves
    assert (move.from_worker, move.to_worker, move.reason) == (met[0].id, met[1].id, why)
    assert move.tokens == 2
    [told] = [one for one in seen.happenings if one.kind == pb.HAPPENING_KIND_REQUEST_MOVED]
    assert (told.worker, told.to_worker, told.reason, told.tokens) == (met[0].id, met[1].id, why, 2)
    assert told.request_id == record.request_id
    assert seen.processes[0].totals.moves == 1
    assert f'inferloom_moves_total{{model_name="chat-model",reason="{why}"}} 1.0' in metrics
    retried = [one for one in seen.happenings if one.kind == pb.HAPPENING_KIND_REQUEST_RETRIED]
    assert not retried


async def test_a_watch_tells_at_once_and_when_something_changes(mesh: GatewayMesh) -> None:
    """A worker that drains, and one that goes; the stream ends when the gateway stops."""
    watch = asking(mesh).WatchMesh(pb.WatchMeshRequest())

    async def next_one() -> pb.Mesh:
        async with asyncio.timeout(PATIENCE_S):
            told = await watch.read()
        assert isinstance(told, pb.WatchMeshResponse)
        return told.mesh

    first = await next_one()
    assert [one.id for one in first.workers] == ["worker-1"]
    mesh.registry.put(mesh.worker.registered(state=WORKER_STATE_DRAINING))
    while (await next_one()).workers[0].state != WORKER_STATE_DRAINING:
        pass
    mesh.registry.remove("worker-1", LEASE_LOSS_EXPIRED)
    while (last := await next_one()).workers or len(last.happenings) < 2:
        pass
    assert [(one.kind, one.reason) for one in last.happenings] == [
        (pb.HAPPENING_KIND_WORKER_DRAINING, ""),
        (pb.HAPPENING_KIND_WORKER_LEFT, "expired"),
    ]
    mesh.stop.set()
    async with asyncio.timeout(PATIENCE_S):
        while await watch.read() is not grpc.aio.EOF:
            pass


async def test_a_watch_ends_with_the_key_that_began_it(tmp_path: Path) -> None:
    """What changes after it was revoked is told to nobody who showed it."""
    keys = Keys(tmp_path)
    async with gateway_mesh(FakeWorker(), keys=keys.place, mesh_secret=MESH_SECRET) as mesh:
        key = keys.make(endpoints=("operating",))
        await follows(mesh, key, 403)
        shown = (("authorization", f"Bearer {key}"),)
        watch = asking(mesh).WatchMesh(pb.WatchMeshRequest(), metadata=shown)
        async with asyncio.timeout(PATIENCE_S):
            assert await watch.read() is not grpc.aio.EOF
            keys.store.change_key(key[6:18], lambda held: replace(held, revoked=1.0))
            await follows(mesh, key, 401)
            mesh.registry.put(mesh.worker.registered(state=WORKER_STATE_DRAINING))
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await to_its_end(watch)
        assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def to_its_end(watch: Any) -> None:
    """Read all that a watch tells."""
    while await watch.read() is not grpc.aio.EOF:
        pass
