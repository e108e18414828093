"""Workers that come, go, fail and fill up, as the gateway's callers see it."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import grpc
import httpx
import orjson
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_mesh.errors import Reason, overloaded, server_error
from inferloom_mesh.status import from_rpc_error
from tests.patience import PATIENCE_S
from tests.wire.fake_worker import CHAT as CHAT_MODEL
from tests.wire.fake_worker import FakeWorker, delta, hang, paused, refuse, say_hello, started
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh

CHAT = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}


def two() -> tuple[FakeWorker, FakeWorker]:
    """Two workers alike."""
    return FakeWorker("worker-1"), FakeWorker("worker-2")


async def post(mesh: GatewayMesh, number: int = 0, **change: Any) -> int:
    """Chat with a prompt of its own; return the status."""
    body = {**CHAT, "messages": [{"role": "user", "content": f"prompt {number}"}], **change}
    return (await mesh.http.post("/v1/chat/completions", json=body)).status_code


async def test_a_dead_worker_costs_no_request() -> None:
    """With one of two workers killed, every request is answered by the other, streaming or not."""
    async with gateway_mesh(*two()) as mesh:
        for number in range(8):
            assert await post(mesh, number) == 200
        assert all(worker.requests for worker in mesh.workers)
        await mesh.worker.kill()
        for number in range(8):
            assert await post(mesh, number, stream=number % 2 == 0) == 200


async def test_distinct_prompts_share_two_workers_evenly() -> None:
    """Prompts that have nothing in common spread over equal workers."""
    async with gateway_mesh(*two()) as mesh:
        await asyncio.gather(*(post(mesh, number) for number in range(100)))
        counts = [len(worker.requests) for worker in mesh.workers]
    assert sum(counts) == 100
    assert min(counts) >= 30


async def test_a_conversation_stays_with_its_worker() -> None:
    """The turns of one conversation, asked one after another, reach the same worker."""
    async with gateway_mesh(*two()) as mesh:
        turns = [{"role": "user", "content": "first words"}]
        for _ in range(6):
            await mesh.http.post("/v1/chat/completions", json={**CHAT, "messages": turns})
            turns += [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]
        assert sorted(len(worker.requests) for worker in mesh.workers) == [0, 6]


async def test_a_full_worker_is_passed_over() -> None:
    """A worker that has no room is replaced by one that has, before the first token."""
    async with gateway_mesh(*two()) as mesh:
        mesh.worker.script = refuse(overloaded("Full."))
        assert [await post(mesh, number) for number in range(6)] == [200] * 6


async def test_when_all_are_full_the_caller_is_told_to_come_back() -> None:
    """No room anywhere is 503 server_overloaded with Retry-After."""
    async with gateway_mesh(*two(), gateway_queue_size=8) as mesh:
        for worker in mesh.workers:
            worker.script = refuse(overloaded("Full.", retry_after=2.5))
        response = await mesh.http.post("/v1/chat/completions", json=CHAT)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "server_overloaded")
    assert response.headers["retry-after"] == "3"


async def test_a_moment_without_room_is_waited_out_at_the_gateway() -> None:
    """Both workers are full for 0.3 s, and the caller notices nothing else."""
    async with gateway_mesh(*two(), gateway_queue_size=8) as mesh:
        for worker in mesh.workers:
            worker.script = refuse(overloaded("Full.", retry_after=0.3))
        asked = asyncio.create_task(post(mesh))
        async with asyncio.timeout(PATIENCE_S):
            while not all(worker.requests for worker in mesh.workers):
                await mesh.http.get("/health/live")
        for worker in mesh.workers:
            worker.script = say_hello
        assert await asked == 200


async def test_a_killed_worker_is_no_worker_and_comes_back(mesh: GatewayMesh) -> None:
    """A known model without a usable worker is 503 no_worker; a restart on the same port is found again."""
    assert await post(mesh) == 200
    await mesh.worker.kill()
    response = await mesh.http.post("/v1/chat/completions", json=CHAT)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "no_worker")
    assert response.headers["retry-after"] == "1"
    assert (await mesh.http.get("/health/ready")).status_code == 503
    assert (await mesh.http.get("/v1/models")).json()["data"] == []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.stub.Generate(pb.GenerateRequest(model="chat-model", text="a")).read()
    assert from_rpc_error(caught.value).reason is Reason.NO_WORKER
    await mesh.worker.start()
    await mesh.lists("chat-model", "org/embedder")
    assert await post(mesh) == 200


async def test_a_worker_lost_mid_stream_ends_the_stream_with_one_error(mesh: GatewayMesh) -> None:
    """After the first byte a lost worker is one error frame, and no [DONE]."""
    mesh.worker.script = hang
    events = []
    async with mesh.http.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                events.append(line)
                if len(events) == 2:
                    await mesh.worker.kill()
    assert len(events) == 3
    error = orjson.loads(events[-1].removeprefix("data: "))["error"]
    assert (error["type"], error["code"]) == ("server_error", "worker_lost")


async def test_a_worker_lost_midway_fails_one_body(mesh: GatewayMesh) -> None:
    """Without streaming, a worker that is lost after it began is 503 worker_lost."""
    mesh.worker.script = hang
    asking = asyncio.create_task(mesh.http.post("/v1/chat/completions", json=CHAT))
    await mesh.worker.accepted.wait()
    await mesh.worker.kill()
    response = await asking
    assert response.status_code == 503
    assert response.json()["error"]["code"] in ("worker_lost", "no_worker")


async def test_a_stream_that_ends_early_is_an_error(mesh: GatewayMesh) -> None:
    """A worker that closes a stream without completing it has not answered."""

    async def stop_short(worker: FakeWorker, request: pb.GenerateRequest) -> Any:
        yield started(request)
        yield delta("Once")

    mesh.worker.script = stop_short
    response = await mesh.http.post("/v1/chat/completions", json=CHAT)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "worker_lost")


async def test_a_second_worker_joins_and_leaves() -> None:
    """A worker that the registry announces takes load, ever more of it, and none after it drains or goes."""
    async with gateway_mesh(FakeWorker("worker-1")) as mesh:
        model = pb.Model(id="second", tasks=[pb.TASK_CHAT])
        joining = await FakeWorker("worker-2", models=(CHAT_MODEL, model)).start()
        mesh.registry.put(joining.registered())
        await mesh.lists("chat-model", "org/embedder", "second")
        for number in count():
            assert await post(mesh, number) == 200
            if joining.requests:
                break
        mesh.registry.put(joining.registered(state=registry_pb2.WORKER_STATE_DRAINING))
        await mesh.lists("chat-model", "org/embedder")
        joining.requests.clear()
        assert {await post(mesh, number) for number in range(8)} == {200}
        assert joining.requests == []
        mesh.registry.remove("worker-2")
        assert (await mesh.http.get("/v1/models/second")).status_code == 503
        await joining.kill()


async def test_running_streams_outlive_their_workers_removal(mesh: GatewayMesh) -> None:
    """A worker that leaves the set finishes what it has."""
    go_on = asyncio.Event()
    mesh.worker.script = paused(go_on)
    asking = asyncio.create_task(mesh.http.post("/v1/chat/completions", json={**CHAT, "stream": True}))
    await mesh.worker.accepted.wait()
    mesh.registry.remove("worker-1")
    await mesh.lists()
    go_on.set()
    assert "[DONE]" in (await asking).text


async def test_a_registry_that_is_down_changes_nothing(mesh: GatewayMesh) -> None:
    """Without its registry a gateway goes on with the last set, and follows again when it is back."""
    await mesh.registry.stop()
    assert await post(mesh) == 200
    assert (await mesh.http.get("/health/ready")).status_code == 200
    mesh.registry.workers.clear()
    mesh.registry.registry_id, mesh.registry.settling = "registry-2", True
    await mesh.registry.start()
    second = FakeWorker("worker-2", models=(pb.Model(id="second", tasks=[pb.TASK_CHAT]),))
    await second.start()
    mesh.registry.put(second.registered())
    await mesh.lists("chat-model", "org/embedder", "second")
    await second.kill()


async def test_embeddings_are_split_over_workers_in_order() -> None:
    """Inputs beyond the batch size go out as several calls; the vectors keep the order of the inputs."""
    async with gateway_mesh(*two(), embedding_batch_size=2) as mesh:
        texts = ["x" * length for length in range(1, 8)]
        response = await mesh.http.post("/v1/embeddings", json={"model": "org/embedder", "input": texts})
        sizes = sorted(len(call.inputs) for worker in mesh.workers for call in worker.requests)
        assert all(worker.requests for worker in mesh.workers)
    assert [item["embedding"][0] for item in response.json()["data"]] == [1, 2, 3, 4, 5, 6, 7]
    assert [item["index"] for item in response.json()["data"]] == list(range(7))
    assert response.json()["usage"]["prompt_tokens"] == 14
    assert sizes == [1, 2, 2, 2]


async def test_a_fault_in_a_later_batch_names_the_callers_input() -> None:
    """A worker's inputs[1] in the second batch of two is the caller's input[3]."""
    from inferloom_mesh.errors import invalid

    async def fussy(request: pb.EmbedRequest) -> None:
        for index, item in enumerate(request.inputs):
            if not item.text:
                raise invalid(f"inputs[{index}].text", f"inputs[{index}].text must not be empty.")

    async with gateway_mesh(FakeWorker(on_unary=fussy), embedding_batch_size=2) as mesh:
        body = {"model": "org/embedder", "input": ["a", "b", "c", ""]}
        error = (await mesh.http.post("/v1/embeddings", json=body)).json()["error"]
    assert (error["param"], error["message"]) == ("input[3]", "input[3] must not be empty.")


async def test_more_calls_than_the_gateway_takes_are_refused() -> None:
    """Past max_in_flight a request is 503 server_overloaded, and the ones before it go on."""
    async with gateway_mesh(FakeWorker(script=hang), max_in_flight=1) as mesh:
        first = mesh.stub.Generate(pb.GenerateRequest(model="chat-model", text="a"))
        await first.read()
        response = await mesh.http.post("/v1/chat/completions", json=CHAT)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "server_overloaded")
        first.cancel()


async def test_vectors_that_do_not_fit_a_default_client_reach_it() -> None:
    """A gRPC client with the default limit of 4 MiB and a REST client both get 9 MiB of vectors."""
    numbers = 2**18
    vector = bytes(4 * numbers)

    async def script(worker: FakeWorker, request: pb.EmbedRequest) -> AsyncIterator[pb.EmbedResponse]:
        yield pb.EmbedResponse(started=pb.EmbedStarted(model=request.model))
        for index in range(len(request.inputs)):
            part = pb.EmbedPart(first_input=index, embeddings=[pb.Embedding(vector=vector)])
            yield pb.EmbedResponse(part=part)
        yield pb.EmbedResponse(completed=pb.EmbedCompleted())

    async with gateway_mesh(FakeWorker(embed_script=script)) as mesh:
        inputs = [pb.EmbedInput(text="a")] * 9
        async with grpc.aio.insecure_channel(str(mesh.grpc)) as channel:
            stub: Any = InferenceServiceStub(channel)
            call = stub.Embed(pb.EmbedRequest(model="org/embedder", inputs=inputs))
            received = [event.part.embeddings[0].vector async for event in call if event.HasField("part")]
        body = {"model": "org/embedder", "input": ["a"] * 9, "encoding_format": "base64"}
        response = await mesh.http.post("/v1/embeddings", json=body)
    assert [len(each) for each in received] == [len(vector)] * 9
    assert [item["index"] for item in response.json()["data"]] == list(range(9))


async def test_a_body_that_breaks_off_is_no_whole_answer() -> None:
    """A worker that fails after vectors were sent ends the connection; the next request is answered."""

    async def script(worker: FakeWorker, request: pb.EmbedRequest) -> AsyncIterator[pb.EmbedResponse]:
        yield pb.EmbedResponse(started=pb.EmbedStarted(model=request.model))
        embedding = pb.Embedding(vector=bytes(4 * 2**16))
        yield pb.EmbedResponse(part=pb.EmbedPart(first_input=0, embeddings=[embedding]))
        raise server_error()

    async with gateway_mesh(FakeWorker(embed_script=script)) as mesh:
        with pytest.raises(httpx.RemoteProtocolError):
            await mesh.http.post("/v1/embeddings", json={"model": "org/embedder", "input": ["a", "b"]})
        assert (await mesh.http.post("/v1/chat/completions", json=CHAT)).status_code == 200
