"""Answers of servers of another make, through a real worker."""

import asyncio
from typing import Any

import grpc
import pytest
from aiohttp import web

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import Reason
from inferloom_worker.hosting.sidecar import shared
from tests.patience import PATIENCE_S, undisturbed
from tests.wire.running_worker import limited, refused, running_worker, text_request
from tests.worker.sidecar.fake_server import (
    DONE,
    USAGE,
    FakeServer,
    Say,
    chunk,
    event,
    fake_server,
    until_left,
)
from tests.worker.sidecar.served import ask, card_of, spec


async def test_a_conversation_is_asked_and_its_answer_told_with_what_it_used() -> None:
    """The card says who answers and what it honours, and promises no continuation elsewhere."""
    async with fake_server() as server, running_worker(spec(server)) as worker:
        card = await card_of(worker)
        assert (card.engine, card.server, card.root, card.context_length) == (
            "sidecar",
            "vllm 0.99",
            "m",
            100,
        )
        assert list(card.tasks) == [pb.TASK_CHAT, pb.TASK_COMPLETION]
        assert {"top_k", "min_tokens", "tools", "constraint"} <= set(card.supported_parameters)
        assert not {"resume", "prediction", "suffix"} & set(card.supported_parameters)
        answer = await worker.generate(ask(**limited(9), sampling=pb.SamplingOptions(temperature=0.7)))

    assert answer.text() == "Hello"
    assert [each.reason for each in answer.all("finished")] == [pb.FINISH_REASON_STOP]
    assert answer.all("finished")[0].completion_tokens == 3
    usage = answer.all("completed")[0].usage
    assert (usage.prompt_tokens, usage.cached_prompt_tokens, usage.completion_tokens) == (7, 4, 3)
    assert usage.reasoning_tokens == 1
    (body,) = server.asked
    assert body["messages"] == [{"role": "user", "content": "hello"}]
    assert (body["temperature"], body["max_tokens"], body["stream"]) == (0.7, 9, True)
    assert "top_p" not in body  # the server has its own


async def test_token_ids_log_probabilities_reasoning_and_calls_come_as_the_contracts() -> None:
    """Ids where the server tells them; alternatives that it tells by their text have none."""

    async def script(body: dict[str, Any], say: Say) -> None:
        assert body["return_token_ids"] is True
        call = {"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"a'}}
        for delta, ids in (
            ({"reasoning": "hm"}, [1]),
            ({"tool_calls": [call]}, [2]),
            ({"tool_calls": [{"index": 0, "function": {"arguments": '": 1}'}}]}, [3, 4]),
        ):
            told = {"index": 0, "delta": delta, "finish_reason": None, "token_ids": ids}
            top = [{"token": "x", "logprob": -0.5}, {"token": "y", "logprob": -1.5}]
            entry = {"token": "x", "bytes": [120], "logprob": -0.5, "top_logprobs": top}
            told["logprobs"] = {"content": [entry] * len(ids)}
            await say(event({"choices": [told], "prompt_token_ids": [8, 9]}))
        await say(event(chunk(finish="stop")) + event(USAGE) + DONE)

    tool = pb.Tool(name="look", parameters_json_schema='{"type": "object"}')
    request = ask(output=pb.OutputOptions(logprobs=True, top_logprobs=1, prompt_token_ids=True))
    request.chat.tools.append(tool)
    async with fake_server(FakeServer(script=script)) as server, running_worker(spec(server)) as worker:
        answer = await worker.generate(request)

    assert answer.all("prompt")[0].token_ids == [8, 9]
    assert answer.tokens() == [1, 2, 3, 4]
    deltas = answer.all("delta")
    assert "".join(delta.reasoning for delta in deltas) == "hm"
    parts = [part for delta in deltas for part in delta.tool_calls]
    assert [(part.index, part.id, part.name) for part in parts] == [(0, "c1", "look"), (0, "", "")]
    assert "".join(part.arguments for part in parts) == '{"a": 1}'
    entries = [entry for delta in deltas for entry in delta.logprobs]
    assert [entry.token_id for entry in entries] == [1, 2, 3, 4]
    assert [[(top.token_id, top.token) for top in entry.top] for entry in entries] == [
        [(token, "x")] for token in (1, 2, 3, 4)
    ]
    assert answer.all("finished")[0].reason == pb.FINISH_REASON_TOOL_CALLS
    assert answer.all("finished")[0].completion_tokens == 4


async def test_what_a_server_does_not_honour_is_refused_by_name() -> None:
    """And nothing is asked of it; a value that asks for nothing is no reason."""
    async with fake_server(FakeServer(kind="ollama")) as server, running_worker(spec(server)) as worker:
        assert (await card_of(worker)).server == "ollama 0.9"
        for fields, param in (
            ({"sampling": pb.SamplingOptions(top_k=3)}, "sampling.top_k"),
            ({"stopping": pb.StoppingOptions(min_tokens=3)}, "stopping.min_tokens"),
            ({"constraint": pb.Constraint(regex="a")}, "constraint.regex"),
            ({"output": pb.OutputOptions(logprobs=True)}, "output.logprobs"),
        ):
            error = await refused(worker.stub.Generate(ask(**fields)))
            assert (error.reason, error.param) == (Reason.UNSUPPORTED_PARAMETER, param)
        required = ask()
        required.chat.tools.add(name="look")
        required.chat.tool_choice.mode = pb.TOOL_CHOICE_MODE_REQUIRED
        error = await refused(worker.stub.Generate(required))
        assert (error.reason, error.param) == (Reason.UNSUPPORTED_PARAMETER, "chat.tool_choice")
        assert server.asked == []
        nothing = pb.SamplingOptions(n=1, top_k=0, min_p=0)
        assert (await worker.generate(ask(sampling=nothing))).text() == "Hello"


async def test_leaving_ends_the_request_at_the_server() -> None:
    """At once, so that it computes no further."""
    server = FakeServer(script=until_left)
    async with fake_server(server), running_worker(spec(server)) as worker:
        call = worker.stub.Generate(ask())
        await call.read()
        await call.read()
        assert (await worker.status()).load.running == 1
        call.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await server.left.wait()
        await worker.until(running=0)


@undisturbed(0.15)
async def test_a_deadline_keeps_what_there_is() -> None:
    """And the server is left."""
    server = FakeServer(script=until_left)
    async with fake_server(server), running_worker(spec(server)) as worker:
        answer = await worker.generate(ask(), timeout=0.6)
        assert answer.text().startswith("more ")
        assert [each.reason for each in answer.all("finished")] == [pb.FINISH_REASON_DEADLINE]
        async with asyncio.timeout(PATIENCE_S):
            await server.left.wait()


async def test_a_reader_who_stops_is_not_read_ahead_for() -> None:
    """What is held for him is bounded; the server waits."""
    sent = 0

    async def script(body: dict[str, Any], say: Say) -> None:
        nonlocal sent
        while True:
            await say(event(chunk("x" * 10_000)))
            sent += 10_000

    server = FakeServer(script=script)
    async with fake_server(server), running_worker(spec(server)) as worker:
        call = worker.stub.Generate(ask())
        await call.read()
        before = -1
        async with asyncio.timeout(PATIENCE_S):
            while sent != before:
                before = sent
                await asyncio.sleep(0.3)
        assert 0 < sent < 16 * 2**20
        call.cancel()


@pytest.mark.parametrize("kind", ["openai", "vllm"])
async def test_who_waits_is_told_so_whether_for_a_place_or_for_the_server(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gateways take silence for a stall; a server says nothing before its response begins."""
    monkeypatch.setattr(shared, "BEAT_S", 0.01)
    server = FakeServer(kind=kind)
    loaded, inside, answering = asyncio.Event(), asyncio.Event(), server._answer

    async def held(request: web.Request) -> web.StreamResponse:
        if loaded.is_set():
            await inside.wait()
        return await answering(request)

    monkeypatch.setattr(server, "_answer", held)
    async with fake_server(server), running_worker(spec(server, slots="1", kind=kind)) as worker:
        loaded.set()
        calls = [worker.stub.Generate(ask()) for _ in range(2)]
        phases = set()
        for call in calls:
            async with asyncio.timeout(PATIENCE_S):
                assert (await call.read()).WhichOneof("event") == "started"
                for _ in range(3):
                    phases.add((await call.read()).heartbeat.phase)
        assert phases == {pb.HEARTBEAT_PHASE_PREFILL, pb.HEARTBEAT_PHASE_QUEUED}
        inside.set()
        for call in calls:
            rest = []
            while (each := await call.read()) is not grpc.aio.EOF:
                rest.append(each)
            assert rest[-1].WhichOneof("event") == "completed"
            assert "started" not in [each.WhichOneof("event") for each in rest]


async def test_texts_are_completed_with_ids_and_repeated_by_the_worker() -> None:
    """llama-server tells the ids of completions in what it has for debugging."""

    async def script(body: dict[str, Any], say: Say) -> None:
        told = {"choices": [{"index": 0, "text": "b", "finish_reason": None}], "__verbose": {"tokens": [7]}}
        last = {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}
        await say(event(told) + event({**last, "__verbose": {"stopping_word": "x"}}) + DONE)

    server = FakeServer(kind="llama-server", model={"id": "m", "meta": {}}, script=script)
    request = text_request("a?", model="m", output=pb.OutputOptions(echo=True), **limited(5, stop=["x"]))
    async with fake_server(server), running_worker(spec(server)) as worker:
        answer = await worker.generate(request)
    assert (answer.text(), answer.tokens()) == ("a?b", [7])
    assert answer.all("finished")[0].stop_string == "x"
    assert server.asked[-1]["prompt"] == "a?"
