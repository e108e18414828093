"""Limits of keys on responses: those that are cut, made in background, given up."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.access.api_key import Limits
from inferloom_mesh.errors import overloaded
from tests.patience import PATIENCE_S
from tests.wire.fake_worker import FakeWorker, hang, refuse, say_hello
from tests.wire.gateway_mesh import gateway_mesh
from tests.wire.test_keys import SECRET, Keys, sdk
from tests.wire.test_responses_background import until
from tests.wire.test_responses_truncation import bounded, conversation

HELLO: dict[str, Any] = {"model": "chat-model", "input": "Hi"}


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """A store without keys."""
    return Keys(tmp_path)


@pytest.fixture
def worker() -> FakeWorker:
    """The mesh's worker."""
    return FakeWorker()


def refuses(times: int, answer: Any = say_hello) -> Any:
    """A script that is full for so many calls, and then answers."""
    left = times

    async def script(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        nonlocal left
        left -= 1
        async for event in (refuse(overloaded("Full.", 0.1)) if left >= 0 else answer)(worker, request):
            yield event

    return script


async def test_a_conversation_that_was_cut_costs_what_was_asked_then(keys: Keys, worker: FakeWorker) -> None:
    """And not what was refused besides."""
    key = keys.make(limits=Limits(tokens_per_minute=400))
    worker.script = bounded
    body: dict[str, Any] = {**HELLO, "input": conversation(9), "truncation": "auto", "max_output_tokens": 40}
    async with gateway_mesh(worker, keys=keys.place, mesh_secret=SECRET) as mesh, sdk(mesh, key) as client:
        made = await client.responses.create(**body)
    assert made.status == "completed"
    generated = [request for request in worker.requests if isinstance(request, pb.GenerateRequest)]
    assert len(generated) == 2
    (row,) = keys.store.usage("2000-01-01")
    assert (row.requests, row.prompt_tokens) == (1, 7)


async def test_a_response_in_background_counts_once_however_often_it_is_tried(
    keys: Keys, worker: FakeWorker
) -> None:
    """The mesh's own retries are no requests of its caller, and it is one request in every count."""
    key = keys.make(limits=Limits(requests_per_minute=2))
    worker.script = refuses(3)
    async with gateway_mesh(worker, keys=keys.place, mesh_secret=SECRET) as mesh, sdk(mesh, key) as client:
        answer = await client.responses.with_raw_response.create(**HELLO, background=True)
        assert answer.headers["x-ratelimit-remaining-requests"] == "1"
        assert (await until(client, answer.parse().id, "completed", "failed")).status == "completed"
        again = await client.responses.with_raw_response.create(**HELLO)
        assert again.headers["x-ratelimit-remaining-requests"] == "0"
    assert len(worker.requests) == 5
    (row,) = keys.store.usage("2000-01-01")
    assert row.requests == 2


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        (Limits(requests_per_minute=1), "requests per min"),
        (Limits(concurrent=1), "concurrent"),
        (Limits(tokens_per_minute=70), "tokens per min"),
    ],
)
async def test_what_a_key_has_no_room_for_is_refused_at_the_door(
    keys: Keys, worker: FakeWorker, limits: Limits, word: str
) -> None:
    """Not a queued response that fails; and what is given up leaves its place, also by a key that has no
    requests left."""
    key = keys.make(limits=limits)
    worker.script = hang
    async with (
        gateway_mesh(worker, keys=keys.place, mesh_secret=SECRET, drain_limit_s=0.1) as mesh,
        sdk(mesh, key) as client,
    ):
        made = await client.responses.create(**HELLO, background=True, max_output_tokens=40)
        for _ in range(2):
            with pytest.raises(openai.RateLimitError, match=word) as caught:
                await client.responses.create(**HELLO, background=True, max_output_tokens=40)
        limited = caught.value.response.headers
        if not limits.concurrent:
            kind = "requests" if limits.requests_per_minute else "tokens"
            assert limited[f"x-ratelimit-limit-{kind}"]
        assert (await client.responses.cancel(made.id)).status == "cancelled"
        async with asyncio.timeout(PATIENCE_S):
            await worker.cancelled.wait()
        if limits.concurrent:
            worker.script = say_hello
            assert (await client.responses.create(**HELLO)).status == "completed"
    assert len(worker.requests) == 1 + bool(limits.concurrent)


async def test_a_stored_completion_is_labelled_by_a_key_without_requests(
    keys: Keys, worker: FakeWorker
) -> None:
    """Nothing is computed of it."""
    key = keys.make(limits=Limits(requests_per_minute=1))
    hello: list[Any] = [{"role": "user", "content": "Hello!"}]
    async with gateway_mesh(worker, keys=keys.place, mesh_secret=SECRET) as mesh, sdk(mesh, key) as client:
        made = await client.chat.completions.create(model="chat-model", messages=hello, store=True)
        for _ in range(2):
            with pytest.raises(openai.RateLimitError):
                await client.chat.completions.create(model="chat-model", messages=hello)
        found = await client.chat.completions.update(made.id, metadata={"topic": "greeting"})
        assert found.metadata == {"topic": "greeting"}
        with pytest.raises(openai.RateLimitError):
            await client.responses.input_tokens.count(**HELLO)
