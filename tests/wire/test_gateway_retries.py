"""Requests that outlive their worker, and what becomes of those that cannot."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom_gateway.calls import worker_call
from inferloom_mesh.errors import InferloomError, Reason, overloaded
from inferloom_mesh.status import from_rpc_error
from tests.patience import PATIENCE_S, within
from tests.wire.fake_worker import (
    FakeWorker,
    by_length,
    completed,
    delta,
    finished,
    refuse,
    say_hello,
    started,
)
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.heard import heard
from tests.wire.ports import free_port

CHAT = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}


def prompt(number: int) -> list[dict[str, str]]:
    """A conversation of its own, so that it may be sent anywhere."""
    return [{"role": "user", "content": f"prompt {number}"}]


async def post(mesh: GatewayMesh, number: int = 0, **change: Any) -> Any:
    """Chat with a prompt of its own."""
    return await mesh.http.post("/v1/chat/completions", json={**CHAT, "messages": prompt(number), **change})


def dying(after: int) -> Any:
    """A script that says ``after`` words and is lost then."""

    async def script(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request, worker.id)
        for index in range(after):
            yield delta("word ", 0, index)
        await heard(worker.id, request, after)
        await worker.kill()
        await asyncio.Event().wait()

    return script


async def by_seed(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
    """Answer with the seed that the request has."""
    yield started(request, worker.id)
    yield delta(f"seed {request.sampling.seed if request.sampling.HasField('seed') else 'none'}")
    yield finished()
    yield completed()


class Pair:
    """Two workers, the first of which to be asked does as one script says, and the other as another."""

    def __init__(self, first: Any, then: Any = by_seed) -> None:
        self.asked: list[str] = []
        self._scripts = [first, then]
        self.workers = [FakeWorker(f"worker-{number}", script=self._follow) for number in (1, 2)]

    async def _follow(
        self, worker: FakeWorker, request: pb.GenerateRequest
    ) -> AsyncIterator[pb.GenerateResponse]:
        self.asked.append(worker.id)
        script = self._scripts[0 if worker.id == self.asked[0] else 1]
        async for event in script(worker, request):
            yield event


async def test_one_body_is_repeated_up_to_its_end() -> None:
    """A worker that is lost after it has made text costs time only: nothing of it was sent."""
    pair = Pair(dying(after=3))
    async with gateway_mesh(*pair.workers) as mesh:
        response = await post(mesh)
    assert response.status_code == 200
    assert len(set(pair.asked)) == 2
    # The seed that the first worker chose, so that the answer is the one that was begun.
    assert response.json()["choices"][0]["message"]["content"] == "seed 1"


@pytest.mark.parametrize("face", ["rest", "grpc"])
async def test_a_stream_is_repeated_until_its_first_text(face: str) -> None:
    """A stream that was accepted, and no more, moves to another worker; its beginning is told once."""
    pair = Pair(dying(after=0))
    async with gateway_mesh(*pair.workers) as mesh:
        if face == "rest":
            text = (await post(mesh, stream=True)).text
            assert (text.count('"role":"assistant"'), text.count("seed 1")) == (1, 1)
            assert text.endswith("[DONE]\n\n")
        else:
            call = mesh.stub.Generate(pb.GenerateRequest(model="chat-model", text="a"))
            kinds = [event.WhichOneof("event") async for event in call]
            assert kinds == ["started", "delta", "finished", "completed"]
    assert len(set(pair.asked)) == 2


async def test_a_request_that_saw_two_workers_die_is_tried_no_more() -> None:
    """It may be what kills them."""
    workers = [FakeWorker(f"worker-{number}", script=dying(after=1)) for number in range(4)]
    async with gateway_mesh(*workers) as mesh:
        response = await post(mesh)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "request_barred")
    assert sum(len(worker.requests) for worker in workers) == 2


async def die_reading(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
    """Be lost before anything was said of the request."""
    await worker.kill()
    await asyncio.Event().wait()
    yield started(request)


@pytest.mark.parametrize("link", ["attach", "call"])
@pytest.mark.parametrize("size", [10, 600_000])
async def test_a_request_that_its_workers_die_of_while_they_read_it_ends_two(link: str, size: int) -> None:
    """However large it is and whatever carries it; and no more when it is asked again."""
    workers = [FakeWorker(f"worker-{number}", script=die_reading) for number in range(5)]
    async with gateway_mesh(*workers, link=link) as mesh:
        for _ in range(2):
            body = {"model": "chat-model", "prompt": "x" * size}
            answer = await mesh.http.post("/v1/completions", json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "request_barred")
    assert sum(len(worker.requests) for worker in workers) == 2


async def test_a_call_with_one_response_that_ends_its_workers_ends_two() -> None:
    """As a generation does: there is no other event by which it could have been accepted."""
    workers = [FakeWorker(f"worker-{number}") for number in range(5)]

    def dying(worker: FakeWorker) -> Any:
        async def on_unary(request: Any) -> None:
            await worker.kill()
            await asyncio.Event().wait()

        return on_unary

    for worker in workers:
        worker.on_unary = dying(worker)
    async with gateway_mesh(*workers) as mesh:
        answer = await mesh.http.post("/tokenize", json={"model": "chat-model", "prompt": "a"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "request_barred")
    assert sum(len(worker.requests) for worker in workers) == 2


async def test_embeddings_go_on_with_the_first_missing_input() -> None:
    """Vectors that were made are kept, and another worker makes the rest; usage counts each input once."""
    asked: list[tuple[str, list[str]]] = []

    async def script(worker: FakeWorker, request: pb.EmbedRequest) -> AsyncIterator[pb.EmbedResponse]:
        asked.append((worker.id, [item.text for item in request.inputs]))
        tokens = 2 * len(request.inputs)
        yield pb.EmbedResponse(started=pb.EmbedStarted(model=request.model, prompt_tokens=tokens))
        async for event in by_length(worker, request):
            if event.HasField("started"):
                continue
            if worker.id == asked[0][0] and event.part.first_input == 2:
                await heard(worker.id, request, 2)
                await worker.kill()
                await asyncio.Event().wait()
            yield event

    workers = [FakeWorker(f"worker-{number}", embed_script=script) for number in (1, 2)]
    async with gateway_mesh(*workers) as mesh:
        texts = ["x" * length for length in (1, 2, 3, 4)]
        response = await mesh.http.post("/v1/embeddings", json={"model": "org/embedder", "input": texts})
    assert [item["embedding"][0] for item in response.json()["data"]] == [1, 2, 3, 4]
    assert [item["index"] for item in response.json()["data"]] == [0, 1, 2, 3]
    assert response.json()["usage"]["prompt_tokens"] == 8
    assert [texts for _, texts in asked] == [["x", "xx", "xxx", "xxxx"], ["xxx", "xxxx"]]


async def test_a_fault_after_the_move_names_the_callers_input() -> None:
    """What the second worker calls inputs[1] is the caller's input 3."""
    first: list[str] = []

    async def script(worker: FakeWorker, request: pb.EmbedRequest) -> AsyncIterator[pb.EmbedResponse]:
        first.append(worker.id)
        if worker.id != first[0]:
            raise InferloomError(Reason.SERVER_ERROR, "inputs[1] has no vector.", param="inputs[1]")
        async for event in by_length(worker, request):
            if event.part.first_input == 2:
                await heard(worker.id, request, 2)
                await worker.kill()
                await asyncio.Event().wait()
            yield event

    workers = [FakeWorker(f"worker-{number}", embed_script=script) for number in (1, 2)]
    async with gateway_mesh(*workers) as mesh:
        call = mesh.stub.Embed(
            pb.EmbedRequest(model="org/embedder", inputs=[pb.EmbedInput(text="a") for _ in range(4)])
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in call:
                pass
    error = from_rpc_error(caught.value)
    assert (error.param, error.message) == ("inputs[3]", "inputs[3] has no vector.")


async def test_no_request_is_lost_to_a_worker_that_cannot_be_reached() -> None:
    """A worker that registers with a port where nobody listens costs none of 24 requests at once."""
    async with gateway_mesh(FakeWorker("worker-1")) as mesh:
        bad = registry_pb2.Worker(
            id="bad",
            address=f"127.0.0.1:{free_port()}",
            models=[*mesh.worker.models, pb.Model(id="only-there", tasks=[pb.TASK_CHAT])],
            state=registry_pb2.WORKER_STATE_READY,
            capacity=64,
        )
        mesh.registry.put(
            registry_pb2.RegisteredWorker(worker=bad, epoch=1, lease_state=registry_pb2.LEASE_STATE_ACTIVE)
        )
        await mesh.lists("chat-model", "only-there", "org/embedder")
        answers = await asyncio.gather(*(post(mesh, number) for number in range(24)))
    assert [answer.status_code for answer in answers] == [200] * 24


async def test_a_worker_that_says_not_now_is_left_alone() -> None:
    """One that is still loading is asked once, and all requests go to the others."""
    loading = InferloomError(Reason.NO_WORKER, "The model is still being loaded.", retry_after=30)
    workers = [FakeWorker("worker-1", script=refuse(loading)), FakeWorker("worker-2"), FakeWorker("worker-3")]
    async with gateway_mesh(*workers) as mesh:
        answers = [await post(mesh, number) for number in range(60)]
    assert [answer.status_code for answer in answers] == [200] * 60
    assert len(workers[0].requests) == 1


async def test_when_the_budget_is_the_reason_no_error_denies_the_workers() -> None:
    """Requests that may not be tried again are told why their worker refused, not that there is none."""
    crowd = [FakeWorker(f"worker-{number}", script=refuse(overloaded("Full."))) for number in range(8)]
    async with gateway_mesh(*crowd) as mesh:
        answers = await asyncio.gather(*(post(mesh, number) for number in range(24)))
    assert {answer.json()["error"]["code"] for answer in answers} == {"server_overloaded"}


async def test_a_worker_that_fails_without_a_word_is_not_denied() -> None:
    """A worker that ends its streams early is there, so no error says that there is none."""

    async def stop_short(
        worker: FakeWorker, request: pb.GenerateRequest
    ) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request)

    async with gateway_mesh(FakeWorker(script=stop_short)) as mesh:
        assert (await post(mesh)).json()["error"]["code"] == "worker_lost"


async def mute(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
    """Accept, and then nothing."""
    yield started(request, worker.id)
    await asyncio.Event().wait()


@pytest.mark.slow
async def test_a_stream_that_stalls_is_lost() -> None:
    """A worker that accepts and says nothing for 6 s is given up soon, and another one answers; a step that
    takes its time has 30."""
    pair = Pair(mute)
    async with gateway_mesh(*pair.workers) as mesh, within(8):
        text = (await post(mesh, stream=True)).text
    assert text.count("seed 1") == 1
    assert len(set(pair.asked)) == 2


@pytest.mark.slow
async def test_one_long_step_is_no_stall() -> None:
    """A model whose steps take 2 s may be silent for 10."""

    async def slow(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request, worker.id)
        await asyncio.sleep(7)
        async for event in say_hello(worker, request):
            if not event.HasField("started"):
                yield event

    card = pb.Model()
    card.CopyFrom(FakeWorker().models[0])
    card.longest_step.FromSeconds(2)
    async with gateway_mesh(FakeWorker(script=slow, models=(card,))) as mesh:
        response = await post(mesh)
    assert response.status_code == 200
    assert len(mesh.worker.requests) == 1


async def test_a_call_without_an_event_leaves_with_its_workers_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has not begun to answer when its lease runs out is not waited for."""
    monkeypatch.setattr(worker_call, "STALL_S", 10 * PATIENCE_S)

    async def silent(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        await asyncio.Event().wait()
        yield started(request)

    pair = Pair(silent)
    async with gateway_mesh(*pair.workers) as mesh, asyncio.timeout(PATIENCE_S):
        asking = asyncio.create_task(post(mesh))
        await asyncio.wait(
            [asyncio.create_task(worker.accepted.wait()) for worker in pair.workers],
            return_when=asyncio.FIRST_COMPLETED,
        )
        mesh.registry.remove(pair.asked[0], registry_pb2.LEASE_LOSS_EXPIRED)
        assert (await asking).status_code == 200


async def break_down(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
    """Accept, and say that the model has failed, as a worker does that then ends itself."""
    yield started(request, worker.id)
    await asyncio.sleep(0.3)
    raise InferloomError(Reason.WORKER_LOST, "The model failed.", retry_after=1.0)


async def test_all_that_a_failed_model_had_is_answered_elsewhere() -> None:
    """The worker says itself that it is lost: such retries are as free as those after a broken connection."""
    workers = [FakeWorker("worker-1", script=break_down), FakeWorker("worker-2", script=by_seed)]
    async with gateway_mesh(*workers) as mesh:
        answers = await asyncio.gather(*(post(mesh, number) for number in range(32)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(workers[0].requests) > 8


async def test_a_worker_that_says_that_it_is_lost_is_left_alone() -> None:
    """For as long as it says, and whatever each of its calls was: not every request has to find it out."""
    lost = InferloomError(Reason.WORKER_LOST, "The model's server was lost.", retry_after=30)
    workers = [FakeWorker("worker-1", script=refuse(lost)), FakeWorker("worker-2"), FakeWorker("worker-3")]
    async with gateway_mesh(*workers) as mesh:
        answers = [await post(mesh, number) for number in range(60)]
    assert [answer.status_code for answer in answers] == [200] * 60
    assert len(workers[0].requests) == 1


async def test_a_request_that_saw_two_models_fail_is_tried_no_more() -> None:
    """It may be what breaks them."""
    workers = [FakeWorker(f"worker-{number}", script=break_down) for number in range(4)]
    async with gateway_mesh(*workers) as mesh:
        assert (await post(mesh)).json()["error"]["code"] == "request_barred"
    assert sum(len(worker.requests) for worker in workers) == 2


async def test_whoever_counted_tokens_is_named() -> None:
    """The header x-inferloom-worker is on calls without a stream, too."""
    async with gateway_mesh(FakeWorker("worker-7")) as mesh:
        response = await mesh.http.post("/tokenize", json={"model": "chat-model", "prompt": "a"})
    assert (response.status_code, response.headers.get("x-inferloom-worker")) == (200, "worker-7")
