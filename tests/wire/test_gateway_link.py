"""Calls to a worker on one stream, and by single calls where that is not to be had."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import link_pb2
from inferloom_gateway.calls import worker_call
from inferloom_mesh.guard import PeersOnly
from inferloom_mesh.secret import MeshSecret
from inferloom_mesh.server import MAX_MESSAGE_BYTES
from tests.patience import PATIENCE_S
from tests.wire.fake_worker import WORDS, FakeWorker, completed, delta, finished, hang, say_hello, started
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh

CHAT: dict[str, Any] = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}
HELLO = "".join(WORDS)
TEXT: dict[str, Any] = {"model": "chat-model", "prompt": "Hi"}


def carried(worker: FakeWorker) -> list[link_pb2.StartCall]:
    """The calls that came on a worker's stream."""
    assert worker.link is not None
    return [start for frame in worker.link.frames for start in frame.starts]


async def texts(mesh: GatewayMesh, **more: Any) -> list[str]:
    """The pieces of a streamed text."""
    async with mesh.http.stream("POST", "/v1/completions", json={**TEXT, "stream": True, **more}) as answer:
        events = [line[6:] async for line in answer.aiter_lines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    return [orjson.loads(event)["choices"][0]["text"] for event in events[:-1]]


async def test_all_calls_of_a_gateway_are_on_one_stream() -> None:
    """Generations, embeddings and calls with one response."""
    async with gateway_mesh(FakeWorker()) as mesh:
        posts = [
            mesh.http.post("/v1/chat/completions", json=CHAT),
            mesh.http.post("/v1/completions", json=TEXT),
            mesh.http.post("/v1/embeddings", json={"model": "org/embedder", "input": "a"}),
            mesh.http.post("/tokenize", json={"model": "chat-model", "prompt": "a"}),
        ]
        assert [answer.status_code for answer in await asyncio.gather(*posts)] == [200] * 4
        kinds = sorted(start.WhichOneof("request") or "" for start in carried(mesh.worker))
        assert kinds == ["embed", "generate", "generate", "tokenize"]
        assert mesh.worker.link is not None
        assert len(mesh.worker.link.streams) == 1


async def test_a_worker_without_the_link_is_called_by_single_calls() -> None:
    """The first calls too, of which several wait for its answer."""
    async with gateway_mesh(FakeWorker(attaches=False)) as mesh:
        answers = await asyncio.gather(*(mesh.http.post("/v1/chat/completions", json=CHAT) for _ in range(8)))
        assert [answer.status_code for answer in answers] == [200] * 8
        assert "".join(await texts(mesh)) == HELLO


async def test_an_operator_can_have_single_calls() -> None:
    """link = call."""
    async with gateway_mesh(FakeWorker(), link="call") as mesh:
        assert (await mesh.http.post("/v1/chat/completions", json=CHAT)).status_code == 200
        assert carried(mesh.worker) == []


@pytest.mark.parametrize("largest", [MAX_MESSAGE_BYTES, 0])
async def test_a_request_that_is_too_large_for_a_frame_goes_in_pieces(largest: int) -> None:
    """Or by itself, to a worker that takes none; its answer is like any other."""
    async with gateway_mesh(FakeWorker(largest_start=largest)) as mesh:
        answer = await mesh.http.post("/v1/completions", json={**TEXT, "prompt": "x" * 600_000})
        assert answer.status_code == 200
        assert len(mesh.worker.requests[0].text) == 600_000
        assert carried(mesh.worker) == []
        assert mesh.worker.link is not None
        pieces = [piece for frame in mesh.worker.link.frames for piece in frame.pieces]
        assert [piece.last for piece in pieces] == ([False, False, True] if largest else [])


@pytest.mark.parametrize("link", ["attach", "call"])
@pytest.mark.parametrize("size", [2, 600_000])
async def test_reading_for_long_is_no_stall(link: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that takes longer over a request than a stall lasts, and has no event of it before, is asked
    once, however large that is and whatever carries it."""
    monkeypatch.setattr(worker_call, "STALL_S", 1.5)

    async def read(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        await asyncio.sleep(3)
        async for event in say_hello(worker, request):
            yield event

    workers = [FakeWorker(f"worker-{number}", script=read) for number in (1, 2)]
    async with gateway_mesh(*workers, link=link) as mesh:
        answer = await mesh.http.post("/v1/completions", json={**TEXT, "prompt": "x" * size})
        assert answer.status_code == 200
    assert sum(len(worker.requests) for worker in workers) == 1


async def test_a_large_event_comes_whole() -> None:
    """300 KiB, in pieces, and what follows it behind it."""
    large = "é" * (150 * 2**10)

    async def script(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request, worker.id)
        yield delta(large, index=0)
        yield delta("end", index=1)
        yield finished()
        yield completed(2)

    async with gateway_mesh(FakeWorker(script=script)) as mesh:
        assert await texts(mesh) == [large, "end", ""]
        body = (await mesh.http.post("/v1/completions", json=TEXT)).json()
        assert body["choices"][0]["text"] == large + "end"


async def test_a_client_that_leaves_ends_its_call_at_once() -> None:
    """And no other on the stream."""
    worker = FakeWorker(script=hang)
    async with gateway_mesh(worker) as mesh:
        async with mesh.http.stream("POST", "/v1/completions", json={**TEXT, "stream": True}) as answer:
            await anext(answer.aiter_lines())
            await worker.runs(1)
        await worker.runs(0)
        worker.script = say_hello
        assert "".join(await texts(mesh)) == HELLO
        assert worker.link is not None
        assert [list(frame.cancels) for frame in worker.link.frames if frame.cancels] == [[1]]
        assert len(worker.link.streams) == 1


async def test_a_stream_that_breaks_the_rules_ends_and_the_next_call_attaches_anew() -> None:
    """The calls on it go elsewhere where they can; the process goes on."""
    worker = FakeWorker(script=hang)
    async with gateway_mesh(worker) as mesh:
        waiting = asyncio.create_task(mesh.http.post("/v1/completions", json=TEXT))
        await worker.runs(1)
        assert worker.link is not None
        (stream,) = worker.link.streams
        worker.script = say_hello
        stream.outgoing.put_nowait(link_pb2.AttachResponse(ends=[link_pb2.CallEnd(call=99)]))
        await worker.runs(0)
        assert (await waiting).status_code == 503  # there is no other worker
        await mesh.answers(CHAT)


async def test_a_worker_that_restarts_is_attached_anew() -> None:
    """What ran on it is lost as a single call would be; nothing else is."""
    worker = FakeWorker(script=hang)
    async with gateway_mesh(worker) as mesh:
        waiting = asyncio.create_task(mesh.http.post("/v1/completions", json=TEXT))
        await worker.runs(1)
        await worker.kill()
        answer = await waiting
        assert answer.status_code == 503
        worker.script = say_hello
        await worker.start()
        await mesh.answers(CHAT)
        assert carried(worker)


async def test_a_call_that_is_lost_moves_to_another_worker() -> None:
    """Before its first token, as from a single call."""

    async def wait(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request, worker.id)
        await asyncio.Event().wait()

    workers = FakeWorker("worker-1", script=wait), FakeWorker("worker-2", script=wait)
    async with gateway_mesh(*workers) as mesh:
        waiting = asyncio.create_task(mesh.http.post("/v1/completions", json=TEXT))
        first = workers[0]
        async with asyncio.timeout(PATIENCE_S):
            accepted = [asyncio.create_task(worker.accepted.wait()) for worker in workers]
            await asyncio.wait(accepted, return_when=asyncio.FIRST_COMPLETED)
            for task in accepted:
                task.cancel()
        first, second = workers if workers[0].running else workers[::-1]
        second.script = say_hello
        await first.kill()
        answer = await waiting
        assert answer.json()["choices"][0]["text"] == HELLO


async def test_a_deadline_ends_a_call_whose_worker_says_nothing() -> None:
    """And the worker is told to end it."""

    async def mute(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        await asyncio.Event().wait()
        yield started(request, worker.id)

    worker = FakeWorker(script=mute)
    async with gateway_mesh(worker, worker_timeout_s=0.5) as mesh:
        answer = await mesh.http.post("/v1/completions", json=TEXT)
        assert answer.json()["error"]["code"] == "timeout"
        await worker.runs(0)


async def test_a_gateway_that_goes_ends_its_calls() -> None:
    """Those that outlast its drain; the open stream holds nothing up."""
    worker = FakeWorker(script=hang)
    async with gateway_mesh(worker, drain_limit_s=0) as mesh:
        waiting = asyncio.create_task(mesh.http.post("/v1/completions", json=TEXT))
        await worker.runs(1)
        mesh.stop.set()
        await worker.runs(0)
        await asyncio.gather(waiting, return_exceptions=True)


async def test_what_nobody_reads_waits_at_the_worker() -> None:
    """A call without credit sends no more until there is some, and then all."""
    count = 5000

    async def script(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        if request.WhichOneof("input") == "chat":
            async for event in say_hello(worker, request):
                yield event
            return
        yield started(request, worker.id)
        for index in range(count):
            yield delta("x" * 100, index=index)
        yield finished()
        yield completed(count)

    async with gateway_mesh(FakeWorker(script=script)) as mesh:
        call = mesh.stub.Generate(pb.GenerateRequest(model="chat-model", text="a"))
        events = [await call.read() for _ in range(3)]
        await mesh.answers(CHAT)
        while (event := await call.read()) and isinstance(event, pb.GenerateResponse):
            events.append(event)
        assert sum(len(event.delta.token_ids) for event in events) == count
        assert mesh.worker.link is not None
        credited = [c.events for f in mesh.worker.link.frames for c in f.credits if c.call == 1]
        assert len(credited) > 50


async def test_a_worker_is_attached_before_its_first_call() -> None:
    """And again after it was away, without one; its load is known."""
    worker = FakeWorker()
    async with gateway_mesh(worker):
        async with asyncio.timeout(PATIENCE_S):
            await worker.attached.wait()
            await worker.kill()
            worker.attached.clear()
            await worker.start()
            await worker.attached.wait()


async def test_a_worker_with_another_secret_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    """While the mesh's is changed, say: the caller's own key is good, so he is answered by others. A worker
    that is the only one cannot be had, which is no matter of the caller's either."""
    strange = PeersOnly(MeshSecret("another secret of a mesh"))
    for link in ("attach", "call"):
        workers = [FakeWorker("worker-1", guard=strange), FakeWorker("worker-2")]
        async with gateway_mesh(*workers, link=link) as mesh:
            posts = [mesh.http.post("/v1/completions", json={**TEXT, "prompt": f"{n}"}) for n in range(20)]
            assert [answer.status_code for answer in await asyncio.gather(*posts)] == [200] * 20
        async with gateway_mesh(FakeWorker("worker-1", guard=strange), link=link) as mesh:
            answer = await mesh.http.post("/v1/completions", json=TEXT)
            assert answer.status_code == 503
    assert "takes no calls of this gateway" in caplog.text
