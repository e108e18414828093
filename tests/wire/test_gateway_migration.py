"""A generation whose worker goes away goes on at another, and its client sees nothing of it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls import stream, wait
from inferloom_gateway.http import sse
from inferloom_mesh.errors import InferloomError, Reason
from tests.wire.access_lines import access_lines
from tests.wire.fake_worker import CHAT as CHAT_MODEL
from tests.wire.fake_worker import EMBEDDER, FakeWorker, completed, delta, finished, started
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.heard import heard

WORDS = ("Once", " upon", " a", " time", ".")
BODY: dict[str, Any] = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}


def worker(name: str, **card: Any) -> FakeWorker:
    """One that can resume, and answers word by word from where it is told."""
    model = pb.Model()
    model.CopyFrom(CHAT_MODEL)
    model.supported_parameters.append("resume")
    model.MergeFrom(pb.Model(**card))
    return FakeWorker(name, (model, EMBEDDER), script=tell)


async def tell(
    worker: FakeWorker, request: pb.GenerateRequest, most: int = len(WORDS)
) -> AsyncIterator[pb.GenerateResponse]:
    """Say the words that are missing, ``most`` at most."""
    first = started(request, worker.id)
    first.started.prompt_token_ids.extend([8, 9])
    yield first
    done = len(request.resume.choices[0].token_ids) if request.resume.choices else 0
    for index in range(done, min(len(WORDS), done + most)):
        yield delta(WORDS[index], index=index)
    if done + most >= len(WORDS):
        yield finished()
        yield completed(len(WORDS))


def failing(how: Any, most: int = 2) -> Any:
    """A script that says some words, and then fails in a way."""

    async def script(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        async for event in tell(worker, request, most):
            yield event
        await heard(worker.id, request, most)
        await how(worker)

    return script


async def killed(worker: FakeWorker) -> None:
    """The worker dies."""
    await worker.kill()


async def drained(worker: FakeWorker) -> None:
    """It drains past its limit."""
    raise InferloomError(Reason.NO_WORKER, "The worker stopped.")


async def broken(worker: FakeWorker) -> None:
    """Its engine breaks."""
    raise InferloomError(Reason.WORKER_LOST, "The model failed.")


async def cut(worker: FakeWorker) -> None:
    """Its stream ends too early."""


def spoiled(mesh: GatewayMesh, how: Any) -> list[FakeWorker]:
    """The workers that a request meets: whichever comes first fails, and the other does not."""
    met: list[FakeWorker] = []

    async def first(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        met.append(worker)
        script = failing(how) if len(met) == 1 else tell
        async for event in script(worker, request):
            yield event

    for each in mesh.workers:
        each.script = first
    return met


async def streamed(mesh: GatewayMesh, **more: Any) -> tuple[str, str]:
    """The text of a stream, and its last line."""
    text, last = "", ""
    async with mesh.http.stream(
        "POST", "/v1/chat/completions", json={**BODY, "stream": True, **more}
    ) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                last = line.removeprefix("data: ")
                for choice in orjson.loads(last).get("choices", []) if last != "[DONE]" else []:
                    text += choice["delta"].get("content") or ""
    return text, last


@pytest.mark.parametrize("how", [killed, drained, broken, cut])
async def test_a_stream_goes_on(how: Any) -> None:
    """With no word lost or said twice; the other worker is told what there is, and the log that it moved."""
    async with gateway_mesh(worker("a"), worker("b")) as mesh:
        met = spoiled(mesh, how)
        with access_lines() as lines:
            assert await streamed(mesh) == ("".join(WORDS), "[DONE]")
            line = await lines.one()
        again = met[1].requests[-1]
        assert met[0] is not met[1]
    assert again.resume == pb.Resume(
        prompt_token_ids=[8, 9], choices=[pb.ResumedChoice(choice=0, token_ids=[0, 1])]
    )
    assert again.sampling.seed == 1
    assert (line["moved"], line["attempts"], line["completion_tokens"]) == ([2], 2, len(WORDS))


async def test_an_answer_in_one_body_goes_on() -> None:
    """It does not begin anew."""
    async with gateway_mesh(worker("a"), worker("b")) as mesh:
        met = spoiled(mesh, killed)
        answer = (await mesh.http.post("/v1/chat/completions", json=BODY)).json()
        assert answer["choices"][0]["message"]["content"] == "".join(WORDS)
        assert answer["usage"]["completion_tokens"] == len(WORDS)
        assert list(met[1].requests[-1].resume.choices[0].token_ids) == [0, 1]


async def test_a_worker_that_starts_is_waited_for() -> None:
    """Where there is no other: the stream goes on when it is there."""
    async with gateway_mesh(worker("a")) as mesh:
        spoiled(mesh, killed)
        asking = asyncio.create_task(streamed(mesh))
        await mesh.worker.accepted.wait()
        await asyncio.sleep(0.3)  # time to die in, and to be missed
        await mesh.worker.kill()
        mesh.registry.remove("a")
        await mesh.worker.start()
        mesh.registry.put(mesh.worker.registered(epoch=2))
        assert await asking == ("".join(WORDS), "[DONE]")


@pytest.mark.parametrize("endpoint", ["chat/completions", "responses"])
async def test_a_stream_that_waits_for_a_worker_is_not_silent(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client and all proxies before it see comments, and the client's own limit of silence counts."""
    monkeypatch.setattr(stream, "BEAT_S", 0.02)
    monkeypatch.setattr(sse, "SILENCE_S", 0.1)
    body = {**BODY, "input": "Hi", "stream": True}
    del body["messages" if endpoint == "responses" else "input"]
    limited = {"x-stainless-read-timeout": "0.2"}
    async with gateway_mesh(worker("a")) as mesh:
        mesh.worker.script = failing(killed)
        async with mesh.http.stream("POST", f"/v1/{endpoint}", json=body) as response:
            lines = response.aiter_lines()
            async for line in lines:
                if line == ": waiting":
                    break
            mesh.worker.script = tell
            mesh.registry.remove("a")
            await mesh.worker.start()
            mesh.registry.put(mesh.worker.registered(epoch=2))
            rest = "".join([line async for line in lines])
        mesh.worker.script = failing(killed)
        async with mesh.http.stream("POST", f"/v1/{endpoint}", json=body, headers=limited) as response:
            silent = "".join([line async for line in response.aiter_lines()])
    assert "time" in rest
    assert "Nothing has come" in silent


async def test_a_call_that_waits_for_a_worker_has_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """As from a worker that has nothing to tell."""
    monkeypatch.setattr(stream, "BEAT_S", 0.02)
    async with gateway_mesh(worker("a")) as mesh:
        mesh.worker.script = failing(killed)
        kinds = []
        async for event in mesh.stub.Generate(pb.GenerateRequest(model="chat-model", text="a")):
            kinds.append(event.WhichOneof("event"))
            if kinds.count("heartbeat") == 3:
                assert event.heartbeat.phase == pb.HEARTBEAT_PHASE_QUEUED
                mesh.worker.script = tell
                mesh.registry.remove("a")
                await mesh.worker.start()
                mesh.registry.put(mesh.worker.registered(epoch=2))
    assert [kind for kind in kinds if kind != "heartbeat"] == [
        *("started", *["delta"] * len(WORDS), "finished", "completed")
    ]


@pytest.mark.parametrize("seeded", [False, True])
async def test_another_instruction_set_goes_on_for_who_named_no_seed(
    seeded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who did asked for the same tokens: his stream ends with one error and no [DONE]."""
    monkeypatch.setattr(wait, "RESUMING_S", 0.2)
    async with gateway_mesh(
        worker("a", instruction_set="avx2", compute_hash="a" * 16, definition_hash="m"),
        worker("b", instruction_set="avx512", compute_hash="b" * 16, definition_hash="m"),
    ) as mesh:
        spoiled(mesh, broken)
        text, last = await streamed(mesh, **({"seed": 1} if seeded else {}))
    if seeded:
        assert (text, orjson.loads(last)["error"]["code"]) == ("Once upon", "worker_lost")
    else:
        assert (text, last) == ("".join(WORDS), "[DONE]")


async def test_a_request_that_ends_its_workers_is_given_up() -> None:
    """After the second; the third is not asked."""
    async with gateway_mesh(worker("a"), worker("b"), worker("c")) as mesh:
        for each in mesh.workers:
            each.script = failing(killed, most=1)
        text, last = await streamed(mesh)
        assert sum(bool(each.requests) for each in mesh.workers) == 2
    assert orjson.loads(last)["error"]["code"] == "request_barred"
    assert text == "".join(WORDS[:2])


PENALTY = pb.Continuation(continuity=pb.CONTINUITY_TOKENS, without=["presence_penalty"])


@pytest.mark.parametrize(
    ("asked", "goes_on"),
    [
        ({}, True),
        ({"presence_penalty": 0}, True),
        ({"presence_penalty": 0.5}, False),
        ({"seed": 1}, False),
        ({"seed": 1, "temperature": 0}, True),
    ],
)
async def test_a_stream_goes_on_where_its_card_says_so(asked: dict[str, Any], goes_on: bool) -> None:
    """What it excepts ends with worker_lost, and no other worker is asked."""
    cards = {"continuation": PENALTY}
    async with gateway_mesh(worker("a", **cards), worker("b", **cards)) as mesh:
        met = spoiled(mesh, killed)
        text, last = await streamed(mesh, **asked)
    if goes_on:
        assert (text, last) == ("".join(WORDS), "[DONE]")
    else:
        assert text == "".join(WORDS[:2])
        assert orjson.loads(last)["error"]["code"] == "worker_lost"
    assert len(met) == 1 + goes_on
