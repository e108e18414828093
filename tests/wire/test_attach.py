"""Calls on a worker's link: the same answers as by call, in frames of the contract's shape."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import link_pb2
from inferloom_mesh.durations import duration
from inferloom_mesh.errors import Reason
from inferloom_mesh.pieces import cut
from inferloom_mesh.server import MAX_MESSAGE_BYTES
from inferloom_mesh.status import from_rpc_error
from inferloom_worker.rpc import inference
from inferloom_worker.rpc.attach import attachments
from inferloom_worker.validate.generate import read_generate
from tests.patience import PATIENCE_S
from tests.wire.attached import Link, Linked, attached, joined, start_call
from tests.wire.running_worker import (
    RunningWorker,
    chat_request,
    limited,
    refused,
    running_worker,
    text_request,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENDLESS = "slow"
"""A model that answers with one token a minute."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker() -> AsyncIterator[RunningWorker]:
    """A quick echo, one that gives a token at a time, a paced one, and one that takes for ever."""
    async with running_worker(
        *("echo", "single=echo:chunk=1", "paced=echo:delay_ms=5", f"{ENDLESS}=echo:delay_ms=60000"),
        max_running=64,
        max_waiting=64,
    ) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", params=["grpc", "tcp"])
async def link(worker: RunningWorker, request: pytest.FixtureRequest) -> AsyncIterator[Link]:
    """An attachment to it, by each transport."""
    async with attached(worker, request.param) as link:
        yield link


SAMPLING: dict[str, Any] = {"sampling": pb.SamplingOptions(n=3, seed=5)}
LOGPROBS: dict[str, Any] = {"output": pb.OutputOptions(logprobs=True, top_logprobs=1)}
STOP: dict[str, Any] = {"stopping": pb.StoppingOptions(stop=["END"], max_tokens=90)}


@pytest.mark.parametrize(
    "request_",
    [
        text_request("hey", sampling=pb.SamplingOptions(seed=1), **limited(150)),
        text_request("hey", model="single", **SAMPLING, **limited(20)),
        text_request("wörld 🌍", model="paced", **SAMPLING, **limited(9)),
        text_request("one END two ", model="single", sampling=pb.SamplingOptions(seed=2), **STOP),
        text_request("ab", sampling=pb.SamplingOptions(seed=3), **LOGPROBS, **limited(70)),
        text_request("ab", output=pb.OutputOptions(echo=True), **SAMPLING, **limited(2)),
        text_request("ab", output=pb.OutputOptions(prompt_token_ids=True), **SAMPLING, **limited(2)),
        text_request("ab", **SAMPLING, **limited(0)),
        chat_request("Hi, wörld 🌍", sampling=pb.SamplingOptions(seed=4)),
    ],
    ids=["plain", "choices", "paced", "stop", "logprobs", "echo", "prompt", "nothing", "chat"],
)
async def test_generate_answers_as_by_a_call(
    worker: RunningWorker, link: Link, request_: pb.GenerateRequest
) -> None:
    """Columns expanded and Deltas joined, the events are the same, whether there is much credit or little."""
    request_.request_id = "mine"
    expected = joined(list((await worker.generate(request_)).events))
    for events in (64, 1):
        linked = await link.run(request_, events=events)
        assert linked.end == link_pb2.CallEnd(call=linked.number)
        assert joined(linked.events) == expected


async def test_calls_with_one_response_answer_as_by_a_call(worker: RunningWorker, link: Link) -> None:
    """Tokenize, Detokenize and GetTokenizer."""
    for name, request in (
        ("Tokenize", pb.TokenizeRequest(model="echo", text="hey")),
        ("Detokenize", pb.DetokenizeRequest(model="echo", token_ids=[104, 105])),
        ("GetTokenizer", pb.GetTokenizerRequest(model="echo")),
    ):
        linked = await link.run(request)
        assert linked.events == [await getattr(worker.stub, name)(request)]


async def test_vectors_and_scores_come_as_by_a_call(minilm_folder: Path) -> None:
    """Embed in parts, of which large ones come in pieces; little credit slows it down and no more."""
    inputs = [pb.EmbedInput(text=f"text number {number}") for number in range(300)]
    embed = pb.EmbedRequest(model="m", inputs=inputs, request_id="mine")
    rerank = pb.RerankRequest(model="m", query="a", documents=["b", "a c", "d"], request_id="mine")
    async with running_worker(f"m={minilm_folder}") as worker, attached(worker) as link:
        expected = [event async for event in worker.stub.Embed(embed)]
        for events in (64, 1):
            found = (await link.run(embed, events=events)).events
            for event in (expected[-1], found[-1]):
                event.completed.ClearField("timings")
            assert [each for event in found for each in event.part.embeddings] == [
                each for event in expected for each in event.part.embeddings
            ]
            assert (found[0], found[-1]) == (expected[0], expected[-1])
        ranked = await worker.stub.Rerank(rerank)
        (found_ranked,) = (await link.run(rerank)).events
        for each in (ranked, found_ranked):
            each.ClearField("timings")
        assert found_ranked == ranked


async def test_errors_are_those_of_a_call(worker: RunningWorker, link: Link) -> None:
    """With their reason, field and status, of every kind of request; neighbours go on."""
    neighbour = await link.start(text_request(model="paced", **limited(40)))
    for name, request in (
        ("Generate", text_request(model="nobody")),
        ("Generate", text_request(sampling=pb.SamplingOptions(temperature=9))),
        ("Generate", text_request("a" * 9000)),
        ("Embed", pb.EmbedRequest(model="echo", inputs=[pb.EmbedInput(text="a")])),
        ("Rerank", pb.RerankRequest(model="echo", query="a", documents=["b"])),
        ("Tokenize", pb.TokenizeRequest(model="echo")),
        ("Detokenize", pb.DetokenizeRequest(model="echo", token_ids=[2**30])),
        ("GetTokenizer", pb.GetTokenizerRequest(model="nobody")),
    ):
        expected = await refused(getattr(worker.stub, name)(request))
        found = (await link.run(request)).error()
        assert (found.reason, found.param, found.message) == (
            expected.reason,
            expected.param,
            expected.message,
        )
    assert (await link.over(neighbour)).text() == "hello" * 8


async def test_a_step_is_one_frame(link: Link) -> None:
    """What 16 calls get together comes together, in columns, and a token is not told twice."""
    calls = await link.start_all([text_request("ab", model="paced", **limited(20))] * 16)
    for linked in calls:
        assert (await link.over(linked)).text() == "ab" * 10
    full = [frame for frame in link.frames if len(frame.deltas.call) >= 8]
    assert len(full) >= 15
    # One by one they would be 320; calls begin a step or two apart.
    assert len([frame for frame in link.frames if frame.deltas.call]) <= 60


async def test_without_credit_tokens_gather(worker: RunningWorker, link: Link) -> None:
    """They come as one Delta when there is credit again; who gives none holds up nobody."""
    stuck = await link.start(text_request("ab", model="paced", **limited(30)), events=3, generous=False)
    await link.until(stuck, lambda call: len(call.events) == 3)
    other = await link.run(text_request("cd", model="paced", **limited(60)))
    assert other.text() == "cd" * 30
    assert len(stuck.events) == 3
    await link.grant(stuck, 1)
    await link.until(stuck, lambda call: len(call.events) == 4)
    assert stuck.text() == "ab" * 15
    assert stuck.end is None, "Finished waits for credit"
    await link.grant(stuck, 1)
    await link.over(stuck)
    assert stuck.kinds()[-2:] == ["finished", "completed"]


async def test_bytes_are_credit_too(link: Link) -> None:
    """An event may overdraw them; the next waits."""
    stuck = await link.start(text_request("ab", model="paced", **limited(30)), size=1, generous=False)
    await link.until(stuck, lambda call: len(call.events) == 1)
    await link.grant(stuck, 1, 10_000)
    await link.over(stuck)
    assert stuck.text() == "ab" * 15


async def test_large_events_come_in_pieces(worker: RunningWorker, link: Link) -> None:
    """Between those of other calls; in order and complete."""
    request = pb.TokenizeRequest(model="echo", text="ab" * 60_000)
    expected = await worker.stub.Tokenize(request)
    neighbour = await link.start(text_request("ab", model="paced", **limited(200)))
    first, second = await link.start(request), await link.start(request)
    assert (await link.over(first)).events == [expected]
    assert (await link.over(second)).events == [expected]
    assert any(frame.pieces for frame in link.frames)
    assert (await link.over(neighbour)).text() == "ab" * 100


async def test_a_cancelled_call_frees_its_slots(worker: RunningWorker, link: Link) -> None:
    """While it runs, and in the same frame as its start."""
    linked = await link.start(text_request(model=ENDLESS, sampling=pb.SamplingOptions(n=2)))
    await worker.until(running=2)
    await link.send(link_pb2.AttachRequest(cancels=[linked.number]))
    await worker.until(running=0)
    start = start_call(900, text_request(model=ENDLESS), 64, 2**18)
    await link.send(link_pb2.AttachRequest(starts=[start], cancels=[900, 12345]))
    assert (await link.run(text_request("a", **limited(2)))).text() == "aa"
    await worker.until(running=0)


@pytest.mark.parametrize("transport", ["grpc", "tcp"])
async def test_a_lost_stream_frees_all_slots(worker: RunningWorker, transport: str) -> None:
    """Whether the gateway reads or not."""
    async with attached(worker, transport) as link:
        for _ in range(5):
            await link.start(text_request(model=ENDLESS))
        await worker.until(running=5)
    await worker.until(running=0)


async def test_a_deadline_ends_a_call(worker: RunningWorker, link: Link) -> None:
    """Only the time that is left crosses."""
    request = text_request(model=ENDLESS)
    linked = await link.run(request, time_left=duration(0.2))
    assert linked.error().reason is Reason.TIMEOUT
    await worker.until(running=0)


async def test_a_number_that_is_taken_ends_both(worker: RunningWorker, link: Link) -> None:
    """With INVALID_ARGUMENT at the call."""
    linked = await link.start(text_request(model=ENDLESS), number=31)
    await link.send(link_pb2.AttachRequest(starts=[start_call(31, text_request(), 64, 2**18)]))
    error = (await link.over(linked)).error()
    assert (error.reason, error.param) == (Reason.INVALID_ARGUMENT, "call")
    await worker.until(running=0)


async def test_a_start_without_a_request_is_refused(link: Link) -> None:
    """It alone."""
    linked = await link.run(pb.ListModelsRequest())
    assert (linked.error().reason, linked.error().param) == (Reason.INVALID_ARGUMENT, "request")
    assert (await link.run(text_request("a", **limited(2)))).text() == "aa"


async def test_a_frame_that_is_none_ends_the_stream(worker: RunningWorker) -> None:
    """With a status that says so; the worker serves on, and the calls of the stream are over."""
    for bad in (b"\x0a\xff", link_pb2.AttachRequest(cancels=range(70_000)).SerializeToString()):
        raw: Any = worker.channel.stream_stream(
            "/inferloom.v1.LinkService/Attach",
            request_serializer=lambda message: (
                message if isinstance(message, bytes) else message.SerializeToString()
            ),
            response_deserializer=link_pb2.AttachResponse.FromString,
        )
        link = Link(raw())
        await link.start(text_request(model=ENDLESS))
        await worker.until(running=1)
        await link.send(bad)
        failure = await link.ended()
        assert isinstance(failure, grpc.aio.AioRpcError)
        assert from_rpc_error(failure).reason is Reason.INVALID_ARGUMENT
        await worker.until(running=0)


async def test_no_frame_ends_more_than_its_stream(worker: RunningWorker) -> None:
    """Random bytes, and messages of random calls, numbers and credit: a neighbour goes on, and all that they
    began is free when their stream has ended."""
    draw = random.Random(5)

    def number() -> int:
        return draw.choice([0, 1, 2, 2**64 - 1])

    def message() -> bytes:
        if draw.random() < 0.3:
            return draw.randbytes(draw.randrange(40))
        request = draw.choice(
            [text_request("ab", model=ENDLESS), text_request(**limited(3)), pb.ListModelsRequest()]
        )
        starts = [start_call(number(), request, number() % 2**32, number() % 2**32) for _ in range(3)]
        credits = [link_pb2.Credit(call=number(), events=number() % 2**32, bytes=number() % 2**32)] * 2
        data = link_pb2.AttachRequest(starts=starts, credits=credits, cancels=[number()]).SerializeToString()
        return data[: draw.choice([len(data), len(data), draw.randrange(len(data))])]

    raw: Any = worker.channel.stream_stream("/inferloom.v1.LinkService/Attach")
    async with attached(worker) as link:
        neighbour = await link.start(text_request("ab", model="paced", **limited(300)))
        for _ in range(25):
            call = raw()
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                for _ in range(4):
                    await call.write(message())
                await call.read()
            call.cancel()
        assert (await link.over(neighbour)).text() == "ab" * 150
    await worker.until(running=0)


async def test_beats_and_load_are_told(link: Link) -> None:
    """The load at once and as it changes, beats while an engine has work."""
    await link.until(
        await link.start(text_request(model=ENDLESS), generous=False),
        lambda call: len(call.events) > 0,
    )
    async with asyncio.timeout(PATIENCE_S):
        while not any(frame.beats for frame in link.frames):
            link.came.clear()
            await link.came.wait()
    beats = [beat for frame in link.frames for beat in frame.beats]
    assert {beat.model for beat in beats} == {ENDLESS}
    loads = [frame.load for frame in link.frames if frame.HasField("load")]
    assert {load.running for load in loads} >= {1}


def parts_of(number: int, request: Any) -> list[link_pb2.StartPiece]:
    """A start in pieces."""
    start = start_call(number, request, 64, 2**18)
    return [
        link_pb2.StartPiece(call=number, index=index, last=last, data=data)
        for index, last, data in cut(start.SerializeToString())
    ]


async def test_a_large_start_comes_in_pieces(link: Link) -> None:
    """Between frames of others, and is answered as a whole one; the worker says first how large it may be."""
    other = await link.start(text_request("ab", model="paced", **limited(20)))
    linked = link.calls[77] = Linked(77, [64, 2**18], generous=True)
    for piece in parts_of(77, text_request("x" * 1_000_000)):
        await link.send(link_pb2.AttachRequest(pieces=[piece]))
    assert (await link.over(linked)).error().reason is Reason.CONTEXT_LENGTH_EXCEEDED
    assert (await link.over(other)).text() == "ab" * 10
    assert [frame.largest_start for frame in link.frames[:2]] == [MAX_MESSAGE_BYTES, 0]


async def test_a_start_that_is_cancelled_amid_its_pieces_never_begins(link: Link) -> None:
    """Its number may be used for another."""
    linked = link.calls[77] = Linked(77, [64, 2**18], generous=True)
    await link.send(link_pb2.AttachRequest(pieces=parts_of(77, text_request("x" * 600_000))[:2]))
    await link.send(link_pb2.AttachRequest(cancels=[77]))
    for piece in parts_of(77, text_request("ab", **limited(3))):
        await link.send(link_pb2.AttachRequest(pieces=[piece]))
    assert (await link.over(linked)).text() == "aba"


async def test_what_is_read_is_said_to_be(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a second, from a start's first piece on until there is an event, also where no engine beats."""
    monkeypatch.setattr(attachments, "LOAD_S", 0.02)  # so a fifth of one
    told = threading.Event()

    def slow(*args: Any, **more: Any) -> Any:
        told.wait(PATIENCE_S)
        return read_generate(*args, **more)

    def said(call: int) -> int:
        return [number for frame in link.frames for number in frame.reading].count(call)

    monkeypatch.setattr(inference, "read_generate", slow)
    await link.send(link_pb2.AttachRequest(pieces=parts_of(78, text_request("x" * 600_000))[:1]))
    try:
        linked = await link.start(text_request("x" * 20_000), number=79)
        async with asyncio.timeout(PATIENCE_S):
            while min(said(78), said(79)) < 2:
                link.came.clear()
                await link.came.wait()
    finally:
        told.set()
    await link.over(linked)
    assert not any(frame.beats for frame in link.frames)
