"""Completions of several prompts, whose one stream outlives its connections and its gateway."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import orjson
import pytest
from openai import AsyncStream
from openai.types import Completion

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import Reason
from tests.wire.contract_clients import METHODS, RefusedError, responses
from tests.wire.fake_worker import FakeWorker, Script, completed, delta, finished, started
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.test_gateway_migration import WORDS, worker
from tests.wire.test_resumable_streams import header, last_id, rest, whole

BODY: dict[str, Any] = {
    "model": "chat-model",
    "prompt": ["one", "two", "three"],
    "n": 2,
    "stream": True,
    "stream_options": {"include_usage": True},
}


def held(gate: asyncio.Event, most: dict[str, int]) -> Script:
    """A script that says some words to each prompt, and the others when the gate opens."""

    async def script(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request, worker.id)
        told = {each.choice: len(each.token_ids) for each in request.resume.choices}
        over = {each.choice for each in request.resume.choices if each.HasField("finished")}
        n = request.sampling.n or 1
        if not told and request.output.echo:
            for choice in range(n):
                yield pb.GenerateResponse(delta=pb.Delta(choice=choice, text=request.text))
        for index, word in enumerate(WORDS):
            if index == most.get(request.text, len(WORDS)):
                await gate.wait()
            for choice in range(n):
                if index >= told.get(choice, 0) and choice not in over:
                    yield delta(word, choice, index)
        for choice in range(n):
            yield finished(choice=choice)
        yield completed(n * len(WORDS))

    return script


async def begin(mesh: GatewayMesh, events: int, **change: Any) -> tuple[str, list[str]]:
    """Read so many events of a new stream, and leave; its name, and they."""
    read: list[str] = []
    async with mesh.http.stream("POST", "/v1/completions", json=BODY | change, headers=header()) as response:
        assert response.status_code == 200, await response.aread()
        async for event in whole(response):
            read.append(event)
            if len(read) == events:
                break
    return response.headers["x-inferloom-stream"], read


def texts(events: list[str]) -> list[str]:
    """What each choice says, by its index."""
    said: dict[int, str] = {}
    for event in events[:-1]:
        for choice in orjson.loads(event.partition("data: ")[2])["choices"]:
            said[choice["index"]] = said.get(choice["index"], "") + choice["text"]
    return [text for _, text in sorted(said.items())]


def killed(mesh: GatewayMesh) -> None:
    """Let the store look as if the process of its streams were dead."""
    with sqlite3.connect(mesh.store / "store.sqlite3") as connection:
        connection.execute("UPDATE streams SET owner = 'dead', claimed_until = 0")


async def test_a_client_that_comes_back_goes_on() -> None:
    """Behind the event that it names, with the same ids, whichever prompt that was of."""
    gate = asyncio.Event()
    first = worker("a")
    first.script = held(gate, {"one": 1, "two": 3})
    async with gateway_mesh(first) as mesh:
        name, read = await begin(mesh, 5)
        gate.set()
        behind = await rest(mesh, name, last_id(read))
        every = await rest(mesh, name, None)
    assert [*read, *behind] == every
    assert [event.partition("\n")[0] for event in every[:-1]] == [f"id: {n}" for n in range(len(every) - 1)]
    assert texts(every) == ["".join(WORDS)] * 6
    usage = orjson.loads(every[-2].partition("data: ")[2])["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (21, 30)
    assert len(first.requests) == 3


@pytest.mark.parametrize("echo", [False, True])
async def test_another_gateway_goes_on_where_one_was_killed(tmp_path: Path, echo: bool) -> None:
    """It asks for what is missing of each prompt, and not for one that was answered; the events are as they
    would have been."""
    never, gate = asyncio.Event(), asyncio.Event()
    gate.set()
    one, two = worker("a"), worker("b")
    one.script, two.script = held(never, {"one": 2, "two": 0}), held(gate, {})
    store = tmp_path / "store"
    async with gateway_mesh(one, store=store) as dies, gateway_mesh(two, store=store) as mesh:
        # All that comes before the gates: of one two words, of two nothing, of three all.
        name, read = await begin(dies, 2 * (2 + 5 + 1) + 6 * echo, echo=echo)
        killed(mesh)
        behind = await rest(mesh, name, last_id(read))
        every = await rest(mesh, name, None)
    assert [*read, *behind] == every
    assert texts(every) == [echo * text + "".join(WORDS) for text in BODY["prompt"] for _ in range(2)]
    asked = {request.text: request.resume for request in two.requests}
    assert asked.keys() == {"one", "two"}
    assert [list(choice.token_ids) for choice in asked["one"].choices] == [[0, 1], [0, 1]]
    assert list(asked["two"].choices) == []
    usage = orjson.loads(every[-2].partition("data: ")[2])["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (21, 30)


async def test_the_sdk_gets_all_of_it_over_two_connections() -> None:
    """OpenAI's own: it knows neither the header nor the path, and both are plain requests to it."""
    gate = asyncio.Event()
    first = worker("a")
    first.script = held(gate, {"one": 1, "two": 3})
    async with gateway_mesh(first) as mesh, mesh.openai() as client:
        chunks: list[Completion] = []
        async with await client.completions.create(**BODY, extra_headers=header()) as begun:
            async for chunk in begun:
                chunks.append(chunk)
                if len(chunks) == 5:
                    break
        gate.set()
        rest = await client.get(
            f"/streams/{begun.response.headers['x-inferloom-stream']}",
            cast_to=Completion,
            options={"headers": {"last-event-id": "4"}},
            stream=True,
            stream_cls=AsyncStream[Completion],
        )
        chunks += [chunk async for chunk in rest]
    said = [""] * 6
    for chunk in chunks:
        for choice in chunk.choices:
            said[choice.index] += choice.text
    assert said == ["".join(WORDS)] * 6
    assert len({chunk.id for chunk in chunks}) == 1


async def test_one_that_fails_fails_all() -> None:
    """The stream ends with the error, for who comes back too, and nothing of it runs on."""
    gate = asyncio.Event()
    first = worker("a")

    async def script(at: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        async for event in held(asyncio.Event() if request.text != "two" else gate, {"one": 1, "two": 1})(
            at, request
        ):
            if gate.is_set():
                raise RuntimeError("a bug")
            yield event

    first.script = script
    async with gateway_mesh(first) as mesh:
        name, read = await begin(mesh, 4)
        gate.set()
        behind = await rest(mesh, name, last_id(read))
        await first.runs(0)
        again = await rest(mesh, name, last_id(read))
    assert behind[-1] == again[-1]
    assert "error" in orjson.loads(behind[-1].partition("data: ")[2])


async def test_grpc_does_not_go_on_with_it() -> None:
    """The contract asks for one prompt at a time, and its events do not say of which they are."""
    async with gateway_mesh(worker("a")) as mesh:
        name, _ = await begin(mesh, 999)
        request = pb.ContinueGenerateRequest(stream=name)
        events = responses(mesh, "grpc", METHODS["ContinueGenerate"], request)
        with pytest.raises(RefusedError) as caught:
            async with aclosing(events):
                await anext(events)
    assert (caught.value.error.reason, caught.value.error.param) == (Reason.UNSUPPORTED_PARAMETER, "id")


async def test_text_whose_tokens_nobody_told_is_not_begun_anew(tmp_path: Path) -> None:
    """No worker can go on behind it, so the stream ends with the error."""
    never = asyncio.Event()

    async def script(at: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request, at.id)
        yield pb.GenerateResponse(delta=pb.Delta(text="Once"))
        await never.wait()

    one, two = worker("a"), worker("b")
    one.script = script
    store = tmp_path / "store"
    async with gateway_mesh(one, store=store) as dies, gateway_mesh(two, store=store) as mesh:
        name, read = await begin(dies, 1, prompt="one", n=1)
        killed(mesh)
        behind = await rest(mesh, name, last_id(read))
    assert "error" in orjson.loads(behind[-1].partition("data: ")[2])
    assert two.requests == []
