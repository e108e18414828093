"""What is stored belongs to the tenant of the key that stored it."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.access.key_text import PREFIX
from tests.wire.fake_worker import FakeWorker, say_hello
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.test_gateway_batches import line, over, read, submit
from tests.wire.test_keys import SECRET, Keys, follows, keys

__all__ = ["keys"]

HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]


def client(mesh: GatewayMesh, key: str) -> AsyncOpenAI:
    """An SDK client with a key."""
    return AsyncOpenAI(base_url=mesh.base_url, api_key=key, max_retries=0)


async def test_another_tenants_things_are_not_there(keys: Keys) -> None:
    """Files, batches and stored completions of one tenant are a 404 to another, and in none of its lists."""
    acme, colleague, other = keys.make("acme"), keys.make("acme"), keys.make("other")
    async with (
        gateway_mesh(FakeWorker(), keys=keys.place, mesh_secret=SECRET) as mesh,
        client(mesh, acme) as mine,
        client(mesh, colleague) as ours,
        client(mesh, other) as theirs,
    ):
        batch = await over(mine, await submit(mine, [line(1)]))
        chat = await mine.chat.completions.create(model="chat-model", messages=HELLO, store=True)
        assert batch.output_file_id is not None
        for doing in (
            theirs.files.retrieve(batch.input_file_id),
            theirs.files.content(batch.output_file_id),
            theirs.files.delete(batch.input_file_id),
            theirs.batches.retrieve(batch.id),
            theirs.batches.cancel(batch.id),
            theirs.chat.completions.retrieve(chat.id),
            theirs.chat.completions.update(chat.id, metadata={}),
            theirs.chat.completions.delete(chat.id),
        ):
            with pytest.raises(openai.NotFoundError):
                await doing
        with pytest.raises(openai.BadRequestError) as caught:
            await theirs.batches.create(
                input_file_id=batch.input_file_id, endpoint="/v1/chat/completions", completion_window="24h"
            )
        assert caught.value.param == "input_file_id"
        for page in (
            await theirs.files.list(),
            await theirs.batches.list(),
            await theirs.chat.completions.list(),
        ):
            assert page.data == []
        assert (await ours.batches.retrieve(batch.id)).id == batch.id
        assert len((await ours.files.list()).data) == 2


async def test_a_batch_ends_with_its_key(keys: Keys) -> None:
    """With what has been answered, and one error for the lines that come up after the key was revoked; a key
    that does not open the endpoint makes no batch for it."""
    text = keys.make("acme")
    scoped = keys.make("acme", endpoints=("files", "batches"))
    worker = FakeWorker()
    revoked = asyncio.Event()

    async def script(at: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        await revoked.wait()
        async for event in say_hello(at, request):
            yield event

    worker.script = script
    async with (
        gateway_mesh(worker, keys=keys.place, mesh_secret=SECRET, batch_concurrency=2) as mesh,
        client(mesh, text) as mine,
        client(mesh, scoped) as narrow,
    ):
        with pytest.raises(openai.PermissionDeniedError):
            await submit(narrow, [line(1)])
        batch = await submit(mine, [line(n) for n in range(6)])
        await worker.runs(2)
        made = keys.store.read()[1].keys.values()
        found = next(key for key in made if text.startswith(f"{PREFIX}{key.id}-"))
        keys.store.put_key(replace(found, revoked=time.time()))
        await follows(mesh, text, 401)
        revoked.set()
        batch = await over(narrow, batch)
        assert batch.request_counts is not None
        assert batch.request_counts.to_dict() == {"total": 6, "completed": 2, "failed": 0}
        assert len(await read(narrow, batch.output_file_id)) == 2
        assert batch.errors is not None
        assert (batch.status, [each.code for each in batch.errors.data or ()]) == (
            "failed",
            ["invalid_api_key"],
        )
