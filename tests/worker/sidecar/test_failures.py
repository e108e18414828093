"""What a server says that is no answer: its refusals and errors, and what nobody would take for one."""

import asyncio
from typing import Any

import grpc
import pytest

from inferloom_mesh.errors import Reason
from tests.patience import PATIENCE_S
from tests.wire.running_worker import refused, running_worker
from tests.worker.sidecar.fake_server import FakeServer, Say, chunk, event, fake_server, lost_in_the_middle
from tests.worker.sidecar.served import ask, card_of, spec, until_models


@pytest.mark.parametrize(
    ("status", "said", "headers", "reason", "words"),
    [
        (400, {"error": {"message": "top_p must be 1"}}, {}, Reason.INVALID_ARGUMENT, "top_p must be 1"),
        (422, {"detail": "no"}, {}, Reason.INVALID_ARGUMENT, "no"),
        (
            400,
            {"error": {"message": "This model's maximum context length is 9 tokens."}},
            {},
            Reason.CONTEXT_LENGTH_EXCEEDED,
            "maximum context length",
        ),
        (429, {}, {"Retry-After": "7"}, Reason.SERVER_OVERLOADED, "takes no more"),
        (503, {"error": "busy"}, {"Retry-After": "soon"}, Reason.SERVER_OVERLOADED, "busy"),
        (
            401,
            {"error": {"message": "bad key secret-key-1"}},
            {},
            Reason.NO_WORKER,
            "refuses the worker's key",
        ),
        (404, {"error": {"message": "no such model"}}, {}, Reason.NO_WORKER, "does not have the model"),
        (500, {"error": {"message": "x" * 5000}}, {}, Reason.SERVER_ERROR, "failed (500)"),
        (500, {}, {}, Reason.SERVER_ERROR, "failed (500)"),
        (502, {}, {}, Reason.NO_WORKER, "cannot be reached"),
        (302, {}, {"Location": "http://elsewhere/"}, Reason.WORKER_LOST, "failed (302)"),
        (500, {"error": {"message": "secret-key-1 was bad"}}, {}, Reason.SERVER_ERROR, "[key] was bad"),
    ],
)
async def test_a_refusal_is_told_in_the_contracts_words(
    status: int,
    said: Any,
    headers: dict[str, str],
    reason: Reason,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything was told, bounded, and without the key, whatever the server repeats."""
    monkeypatch.setenv("THE_KEY", "secret-key-1")
    server = FakeServer(refusal=(status, said, headers), key="secret-key-1")
    async with fake_server(server), running_worker(spec(server, key_env="THE_KEY")) as worker:
        error = await refused(worker.stub.Generate(ask()))
        assert b"secret-key" not in (await card_of(worker)).SerializeToString()
    assert error.reason is reason
    assert words in error.message
    assert "secret-key" not in error.message
    assert len(error.message) < 700
    if reason is Reason.SERVER_OVERLOADED:
        assert error.retry_after == (7.0 if headers["Retry-After"] == "7" else 1.0)


HOSTILE: list[bytes] = [
    b"data: {\n\n",
    b"data: []\n\n",
    b'data: {"choices": 1}\n\n',
    b'data: {"choices": [{"index": 1, "delta": {"content": "a"}}]}\n\n',
    b'data: {"choices": [{"index": -1, "delta": {"content": "a"}}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {"content": 5}}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {"content": "\\ud800"}}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {}, "token_ids": [-1]}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {}, "token_ids": [4294967296]}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 99999}]}}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": []}]}\n\n',
    b'data: {"usage": {"prompt_tokens": -4}}\n\n',
    b"data: " + b"[" * 100_000 + b"\n\n",
    b"data: [DONE]\n\n",
    b"",
]


async def test_what_is_no_answer_ends_its_own_request() -> None:
    """The next one is answered: nothing that a server says ends the worker."""
    said = [b""]

    async def script(body: dict[str, Any], say: Say) -> None:
        await say(said[0])

    server = FakeServer(script=script)
    async with fake_server(server), running_worker(spec(server)) as worker:
        for hostile in HOSTILE:
            said[0] = hostile
            error = await refused(worker.stub.Generate(ask()))
            assert (hostile, error.reason) == (hostile, Reason.WORKER_LOST)
        said[0] = b'data: {"error": {"message": "out of memory", "code": 500}}\n\n'
        error = await refused(worker.stub.Generate(ask()))
        assert (error.reason, "out of memory" in error.message) == (Reason.SERVER_ERROR, True)
        said[0] = event(chunk("fine", finish="stop"))
        answer = await worker.generate(ask())
        assert answer.text() == "fine"
        assert answer.all("completed")[0].usage.completion_tokens == 1  # none was told: it is counted


async def test_an_endless_event_is_given_up() -> None:
    """Long before it fills the memory."""

    async def script(body: dict[str, Any], say: Say) -> None:
        while True:
            await say(b"a" * 2**20)

    server = FakeServer(script=script)
    async with fake_server(server), running_worker(spec(server)) as worker:
        error = await refused(worker.stub.Generate(ask()))
        assert error.reason is Reason.WORKER_LOST
        async with asyncio.timeout(PATIENCE_S):
            await server.left.wait()


async def test_a_connection_that_breaks_is_a_lost_worker() -> None:
    """After what has come."""
    server = FakeServer(script=lost_in_the_middle)
    async with fake_server(server), running_worker(spec(server)) as worker:
        call = worker.stub.Generate(ask())
        told = [(await call.read()).WhichOneof("event") for _ in range(2)]
        assert told == ["started", "delta"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"type": "invalid_request_error", "code": None}, Reason.INVALID_ARGUMENT),
        ({"type": "BadRequestError", "code": "400"}, Reason.INVALID_ARGUMENT),
        ({"type": "?", "code": "context_length_exceeded"}, Reason.CONTEXT_LENGTH_EXCEEDED),
        ({"type": "rate_limit_error"}, Reason.SERVER_OVERLOADED),
        ({"type": "server_error", "code": None}, Reason.SERVER_ERROR),
        ({"type": ["?"], "code": True}, Reason.SERVER_ERROR),
    ],
)
async def test_an_error_in_a_stream_without_a_number_goes_by_its_type(
    error: dict[str, Any], reason: Reason
) -> None:
    """A server that is well has told what it is: no other worker needs to try, and the model stays."""

    async def script(body: dict[str, Any], say: Say) -> None:
        await say(event({"error": {"message": "No such luck.", **error}}))

    server = FakeServer(script=script)
    async with fake_server(server), running_worker(spec(server)) as worker:
        told = await refused(worker.stub.Generate(ask()))
        assert (told.reason, "No such luck." in told.message) == (reason, True)
        await until_models(worker, ["m"])
