"""Deadlines through the whole mesh: what a caller says of his time bounds queues and answers."""

import time
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import orjson
import pytest
import pytest_asyncio

from inferloom.v1 import inference_pb2 as pb
from tests.patience import undisturbed, within
from tests.wire import sdk_types
from tests.wire.contract_clients import DOORS, METHODS, RefusedError, responses
from tests.wire.echo_mesh import EchoMesh, echo_mesh
from tests.wire.gateway_mesh import GatewayMesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOW = "slow"
"""A token each 50 ms."""
STUCK = "stuck"
"""A first token after a minute."""

BODY = {"model": SLOW, "messages": [{"role": "user", "content": "x" * 500}], "max_tokens": 400}

BUDGET_S = 0.6


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[EchoMesh]:
    """One worker with both models."""
    models = (f"{SLOW}=echo:delay_ms=50", f"{STUCK}=echo:delay_ms=60000")
    async with echo_mesh(*models) as running:
        yield running


async def events(answer: httpx.Response) -> list[Any]:
    """The data of a stream's events."""
    lines = [line.removeprefix("data: ") async for line in answer.aiter_lines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else orjson.loads(line) for line in lines]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@undisturbed(0.15)
async def test_a_whole_answer_is_what_there_was_time_for(mesh: EchoMesh, path: str) -> None:
    """It is cut, in time, and says why."""
    body = BODY if "chat" in path else {"model": SLOW, "prompt": "x" * 500, "max_tokens": 400}
    async with within(4 * BUDGET_S):
        answer = await mesh.http.post(path, json=body, headers={"x-request-timeout": str(BUDGET_S)})
    assert answer.status_code == 200, answer.text
    (choice,) = answer.json()["choices"]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("length", "deadline")
    assert 0 < answer.json()["usage"]["completion_tokens"] < 20


@pytest.mark.parametrize("stream", [False, True])
@undisturbed(0.15)
async def test_a_response_says_that_its_time_was_over(mesh: EchoMesh, stream: bool) -> None:
    """Streamed or not, beside the reason of OpenAI's that clients take for an answer that was cut; and its
    SDK reads it."""
    body = {"model": SLOW, "input": "x" * 500, "stream": stream, "store": False}
    answer = await mesh.http.post("/v1/responses", json=body, headers={"x-request-timeout": str(BUDGET_S)})
    assert answer.status_code == 200, answer.text
    made = (await events(answer))[-1]["response"] if stream else answer.json()
    assert made["incomplete_details"] == {"reason": "max_output_tokens", "stop_reason": "deadline"}
    read = sdk_types.response(made)
    assert (read.status, read.output[0].status) == ("incomplete", "incomplete")  # type: ignore[union-attr]
    assert 0 < made["usage"]["output_tokens"] < 20


@undisturbed(0.15)
async def test_a_stream_ends_with_its_reason(mesh: EchoMesh) -> None:
    """And as whole as any other: with [DONE]."""
    headers = {"x-request-timeout": str(BUDGET_S)}
    async with mesh.http.stream(
        "POST", "/v1/chat/completions", json={**BODY, "stream": True}, headers=headers
    ) as answer:
        *chunks, last, done = await events(answer)
    assert len(chunks) > 1
    assert last["choices"][0] == {**last["choices"][0], "finish_reason": "length", "stop_reason": "deadline"}
    assert done == "[DONE]"


async def test_before_the_first_token_it_is_an_error(mesh: EchoMesh) -> None:
    """There is nothing to give."""
    body = {**BODY, "model": STUCK}
    answer = await mesh.http.post("/v1/chat/completions", json=body, headers={"x-request-timeout": "0.3"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")


@undisturbed(0.15)
async def test_the_sdks_own_timeout_is_the_deadline_of_one_body(mesh: EchoMesh) -> None:
    """So that its caller gets what there is, and not a failure of his own client."""
    async with mesh.openai(timeout=1.0) as client:
        answer = await client.chat.completions.create(**cast("Any", BODY))
    assert answer.choices[0].finish_reason == "length"
    assert 0 < len(answer.choices[0].message.content or "") < 30


@undisturbed(0.15)
async def test_the_timeout_of_the_sdk_for_javascript_is_one_too(mesh: EchoMesh) -> None:
    """Whole seconds until the answer's head, which a stream has at once; 0 is less than one."""
    async with within(8):
        answer = await mesh.http.post("/v1/chat/completions", json=BODY, headers={"x-stainless-timeout": "1"})
    assert answer.json()["choices"][0]["stop_reason"] == "deadline"
    body = {**BODY, "messages": [{"role": "user", "content": "x" * 30}]}
    for headers, more in (
        ({"x-stainless-timeout": "0"}, {}),
        ({"x-stainless-timeout": "1"}, {"stream": True}),
    ):
        answer = await mesh.http.post("/v1/chat/completions", json={**body, **more}, headers=headers)
        assert "deadline" not in answer.text
        assert "stop" in answer.text


@undisturbed(0.15)
async def test_the_sdks_own_timeout_bounds_a_streams_silence_and_not_its_length(mesh: EchoMesh) -> None:
    """A stream that goes on may take as long as it likes."""
    body = {**BODY, "messages": [{"role": "user", "content": "x" * 40}], "stream": True}
    began = time.monotonic()
    async with mesh.openai(timeout=1.0) as client:
        stream = await client.chat.completions.create(**cast("Any", body))
        reasons = [chunk.choices[0].finish_reason async for chunk in stream]
    assert time.monotonic() - began > 1.5
    assert reasons[-1] == "stop"


async def test_a_stream_that_tells_nothing_ends(mesh: EchoMesh) -> None:
    """With an error in its own words."""
    body, headers = {**BODY, "model": STUCK, "stream": True}, {"x-stainless-read-timeout": "1.5"}
    began = time.monotonic()
    async with (
        within(8),
        mesh.http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer,
    ):
        found = await events(answer)
    assert found[-1]["error"]["code"] == "timeout"
    assert time.monotonic() - began > 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (name, value)
            for name in ("x-request-timeout", "x-stainless-read-timeout", "x-stainless-timeout")
            for value in ("0.0", "-1", "soon", "nan", "1,5", "", "1e999999", "9" * 12)
        ),
        ("x-request-timeout", "0"),
        ("x-stainless-read-timeout", "0"),
    ],
)
async def test_what_is_no_time_is_refused_by_name(mesh: EchoMesh, name: str, value: str) -> None:
    """A typing mistake is not to become no deadline at all."""
    answer = await mesh.http.post("/v1/chat/completions", json=BODY, headers={name: value})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, name, None), error


async def test_a_time_given_twice_is_refused(mesh: EchoMesh) -> None:
    """Nobody knows which was meant."""
    headers = [("x-request-timeout", "1"), ("x-request-timeout", "2")]
    answer = await mesh.http.post("/v1/chat/completions", json=BODY, headers=headers)
    assert answer.status_code == 400


def timed(door: str, milliseconds: int) -> dict[str, Any]:
    """What a call says of its time. By HTTP it is the header alone: the client has a timer of its own, which
    may be quicker than the answer."""
    if door == "grpc":
        return {"timeout_ms": milliseconds}
    name, unit = ("grpc-timeout", "m") if door.startswith("grpc-web") else ("connect-timeout-ms", "")
    return {"headers": {name: f"{milliseconds}{unit}"}}


@pytest.mark.parametrize("door", DOORS)
@undisturbed(0.15)
async def test_the_contracts_doors_cut_alike(mesh: EchoMesh, door: str) -> None:
    """By the deadline that each protocol has; before the first token it is an error."""
    doors = cast("GatewayMesh", mesh)
    request = pb.GenerateRequest(model=SLOW, text="x" * 500, stopping=pb.StoppingOptions(max_tokens=400))
    method = METHODS["Generate"]
    found = [event async for event in responses(doors, door, method, request, **timed(door, 1200))]
    ended = [event.finished.reason for event in found if event.HasField("finished")]
    assert ended == [pb.FINISH_REASON_DEADLINE]
    assert found[-1].HasField("completed")
    request.model = STUCK
    with pytest.raises(RefusedError) as caught:
        async for _ in responses(doors, door, method, request, **timed(door, 500)):
            pass
    assert caught.value.code == "deadline_exceeded"
