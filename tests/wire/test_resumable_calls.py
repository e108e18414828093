"""Generations that outlive their calls, by gRPC, Connect and gRPC-Web."""

import asyncio
import sqlite3
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import Reason
from tests.patience import PATIENCE_S
from tests.wire.contract_clients import METHODS, RefusedError, responses
from tests.wire.fake_worker import FakeWorker
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.running_worker import error_of, running_worker
from tests.wire.test_gateway_migration import WORDS, worker
from tests.wire.test_resumable_streams import slow

GENERATE, CONTINUE = METHODS["Generate"], METHODS["ContinueGenerate"]
CHAT = pb.GenerateRequest(
    model="chat-model",
    chat=pb.ChatInput(
        messages=[pb.ChatMessage(role=pb.ROLE_USER, parts=[pb.ContentPart(text="Hi")])],
    ),
)
ASKED = {"x-inferloom-resumable": "20"}


async def begin(mesh: GatewayMesh, door: str, count: int, **headers: str) -> list[pb.GenerateResponse]:
    """Read so many events of a new stream, and leave."""
    read = []
    async with aclosing(responses(mesh, door, GENERATE, CHAT, headers=ASKED | headers)) as events:
        async for event in events:
            read.append(event)
            if len(read) == count:
                break
    return read


async def rest(mesh: GatewayMesh, door: str, name: str, after: int | None) -> list[pb.GenerateResponse]:
    """What comes behind an event."""
    request = pb.ContinueGenerateRequest(stream=name, after=after)
    return [event async for event in responses(mesh, door, CONTINUE, request)]


@pytest.mark.parametrize("door", ["grpc", "connect-json", "grpc-web-proto"])
async def test_a_caller_that_comes_back_goes_on(door: str) -> None:
    """Behind the event that it names, with the same sequence; from the beginning where it names none."""
    gate = asyncio.Event()
    first = worker("a")
    first.script = slow(gate)
    async with gateway_mesh(first) as mesh:
        read = await begin(mesh, door, 3)
        gate.set()
        name = read[0].started.request_id
        behind = await rest(mesh, door, name, read[-1].sequence)
        every = await rest(mesh, door, name, None)
        nothing = await rest(mesh, door, name, 999)
    assert [*read, *behind] == every
    assert [event.sequence for event in every] == list(range(len(WORDS) + 3))
    assert (nothing, every[-1].HasField("completed")) == ([], True)
    assert not every[0].started.prompt_token_ids
    assert len(first.requests) == 1


async def test_any_place_is_one_to_go_on_from() -> None:
    """However the events were written."""
    async with gateway_mesh(worker("a")) as mesh:
        every = await begin(mesh, "grpc", 99)
        for place in range(len(every)):
            behind = await rest(mesh, "grpc", every[0].started.request_id, place)
            assert behind == every[place + 1 :]


async def test_another_gateway_goes_on_where_one_was_killed(tmp_path: Path) -> None:
    """It asks a worker for what is missing, and every event is as it would have been."""
    gate, never = asyncio.Event(), asyncio.Event()
    one, two = worker("a"), worker("b")
    one.script, two.script = slow(never), slow(gate)
    gate.set()
    store = tmp_path / "store"
    async with gateway_mesh(one, store=store) as killed, gateway_mesh(two, store=store) as mesh:
        read = await begin(killed, "grpc", 3)
        with sqlite3.connect(store / "store.sqlite3") as connection:  # as if its process were dead
            connection.execute("UPDATE streams SET owner = 'dead', claimed_until = 0")
        name = read[0].started.request_id
        behind = await rest(mesh, "grpc", name, read[-1].sequence)
        every = await rest(mesh, "grpc", name, None)
    assert [*read, *behind] == every
    assert list(two.requests[0].resume.choices[0].token_ids) == [0, 1]


async def test_the_stream_is_named_before_its_first_event() -> None:
    """In the call's initial metadata, or the response's headers; without being asked for it is none."""
    async with gateway_mesh(worker("a")) as mesh:
        call = mesh.stub.Generate(CHAT, metadata=tuple(ASKED.items()))
        named = dict(await call.initial_metadata())
        [first, *_] = [event async for event in call]
        assert named["x-inferloom-stream"] == first.started.request_id
        again = mesh.stub.ContinueGenerate(pb.ContinueGenerateRequest(stream=first.started.request_id))
        assert dict(await again.initial_metadata())["x-inferloom-stream"] == first.started.request_id
        plain = mesh.stub.Generate(CHAT)
        assert "x-inferloom-stream" not in dict(await plain.initial_metadata())
        assert not any([event.HasField("sequence") async for event in plain])
        by_http = await mesh.http.post(
            "/inferloom.v1.InferenceService/Generate",
            content=b"\0" + len(CHAT.SerializeToString()).to_bytes(4, "big") + CHAT.SerializeToString(),
            headers={**ASKED, "content-type": "application/connect+proto", "x-request-id": "mine"},
        )
        assert by_http.headers["x-inferloom-stream"] == "mine"


async def test_what_nobody_comes_back_for_is_given_up() -> None:
    """After the seconds that were asked for; its slot is free then, and the stream is gone."""
    first = worker("a")
    first.script = slow(asyncio.Event())
    async with gateway_mesh(first) as mesh:
        read = await begin(mesh, "grpc", 2, **{"x-inferloom-resumable": "0.5"})
        async with asyncio.timeout(PATIENCE_S):
            await first.cancelled.wait()
        with pytest.raises(RefusedError) as gone:
            await rest(mesh, "grpc", read[0].started.request_id, None)
    assert (gone.value.error.reason, gone.value.error.param) == (Reason.NOT_FOUND, "id")


async def test_a_stream_that_rest_began_goes_on_by_grpc_and_not_the_other_way() -> None:
    """What Generate was asked has no form that a completion could be told in."""
    body = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    async with gateway_mesh(worker("a")) as mesh:
        answer = await mesh.http.post("/v1/chat/completions", json=body, headers=ASKED)
        events = await rest(mesh, "grpc", answer.headers["x-inferloom-stream"], None)
        assert "".join(event.delta.text for event in events) == "".join(WORDS)
        read = await begin(mesh, "grpc", 99)
        refused = await mesh.http.get(f"/v1/streams/{read[0].started.request_id}")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "id")


@pytest.mark.parametrize(
    ("request_", "headers", "reason", "param"),
    [
        (CHAT, {"x-inferloom-resumable": "soon"}, Reason.INVALID_ARGUMENT, "x-inferloom-resumable"),
        (CHAT, {"x-inferloom-resumable": "9999"}, Reason.INVALID_ARGUMENT, "x-inferloom-resumable"),
        (pb.GenerateRequest(request_id="a b", text="a"), ASKED, Reason.INVALID_ARGUMENT, "request_id"),
        (pb.ContinueGenerateRequest(stream="nobody"), {}, Reason.NOT_FOUND, "id"),
        (pb.ContinueGenerateRequest(stream="a\r\nx: y"), {}, Reason.NOT_FOUND, "id"),
        (pb.ContinueGenerateRequest(), {}, Reason.NOT_FOUND, "id"),
    ],
)
async def test_what_cannot_be_is_refused(
    request_: Any, headers: dict[str, str], reason: Reason, param: str
) -> None:
    """By name, and no worker keeps what it was asked for."""
    first = FakeWorker("a")
    async with gateway_mesh(first) as mesh:
        method = GENERATE if isinstance(request_, pb.GenerateRequest) else CONTINUE
        if method is GENERATE:
            request_.model = "chat-model"
        with pytest.raises(RefusedError) as caught:
            [_ async for _ in responses(mesh, "grpc", method, request_, headers=headers)]
        await first.runs(0)
    assert (caught.value.error.reason, caught.value.error.param) == (reason, param)


async def test_two_streams_cannot_have_one_name() -> None:
    """The second is refused, and its slot is free."""
    first = worker("a")
    first.script = slow(asyncio.Event())
    named = {"x-request-id": "mine"}
    async with gateway_mesh(first) as mesh:
        request = pb.GenerateRequest(request_id="mine")
        request.MergeFrom(CHAT)
        stream = responses(mesh, "grpc", GENERATE, request, headers=ASKED | named)
        await anext(stream)
        with pytest.raises(RefusedError) as caught:
            [_ async for _ in responses(mesh, "grpc", GENERATE, request, headers=ASKED)]
        await first.runs(1)
        await stream.aclose()
    assert caught.value.error.reason is Reason.ALREADY_EXISTS


async def test_a_gateway_that_keeps_nothing_says_so() -> None:
    """The call would be no other than without the metadata, so it is refused."""
    async with gateway_mesh(worker("a"), no_store=True) as mesh:
        for method, request in ((GENERATE, CHAT), (CONTINUE, pb.ContinueGenerateRequest(stream="a"))):
            with pytest.raises(RefusedError) as caught:
                [_ async for _ in responses(mesh, "grpc", method, request, headers=ASKED)]
            assert caught.value.error.param == "x-inferloom-resumable"


async def test_a_worker_keeps_no_streams() -> None:
    """It says so."""
    async with running_worker("echo") as echo:
        call = echo.channel.unary_stream(
            CONTINUE.path,
            request_serializer=pb.ContinueGenerateRequest.SerializeToString,
            response_deserializer=pb.GenerateResponse.FromString,
        )(pb.ContinueGenerateRequest(stream="a"))
        with pytest.raises(grpc.aio.AioRpcError, match="keeps no streams") as caught:
            [_ async for _ in call]
    assert error_of(caught.value).reason is Reason.UNIMPLEMENTED
