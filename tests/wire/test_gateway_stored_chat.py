"""Chat completions with ``store``, through the OpenAI SDK."""

from typing import Any

import openai
import pytest

from tests.wire.fake_worker import WORDS, FakeWorker
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.leftover import leftover

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "1", "content": "done"},
]


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway for all tests here."""
    return shared_mesh


async def make(client: openai.AsyncOpenAI, **more: Any) -> Any:
    """A stored completion."""
    return await client.chat.completions.create(model="chat-model", messages=HELLO, store=True, **more)


async def test_an_answer_is_kept_as_it_was_given(mesh: GatewayMesh) -> None:
    """Not streamed: what is retrieved is what was answered, with its metadata."""
    async with mesh.openai() as client:
        made = await make(client, metadata={"topic": "greeting"}, n=2)
        kept = await client.chat.completions.retrieve(made.id)
        assert kept.metadata == {"topic": "greeting"}
        assert kept.model_dump(exclude={"metadata"}) == made.model_dump(exclude={"metadata"})
        assert leftover(kept) == []
        gone = await client.chat.completions.delete(made.id)
        assert (gone.id, gone.deleted, gone.object) == (made.id, True, "chat.completion.deleted")
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.retrieve(made.id)


async def test_a_streamed_answer_is_kept_too(mesh: GatewayMesh) -> None:
    """It can be retrieved as soon as its stream has ended, as one body."""
    async with mesh.openai() as client:
        names = set()
        async for chunk in await make(client, stream=True):
            names.add(chunk.id)
        (name,) = names
        kept = await client.chat.completions.retrieve(name)
        assert kept.choices[0].message.content == "".join(WORDS)
        assert (kept.choices[0].finish_reason, kept.object) == ("stop", "chat.completion")
        assert kept.usage is not None
        assert kept.usage.completion_tokens == 3
        await client.chat.completions.delete(name)


async def test_only_what_asks_for_it_is_kept(mesh: GatewayMesh) -> None:
    """Without ``store`` nothing is."""
    async with mesh.openai() as client:
        plain = await client.chat.completions.create(model="chat-model", messages=HELLO, metadata={"a": "b"})
        with pytest.raises(openai.NotFoundError) as caught:
            await client.chat.completions.retrieve(plain.id)
        assert f"No such chat completion: '{plain.id}'." in caught.value.message
        assert (await client.chat.completions.list()).data == []


async def test_completions_are_listed_by_page_model_and_metadata(mesh: GatewayMesh) -> None:
    """The oldest first, or the newest; all filters together."""
    async with mesh.openai() as client:
        made = [(await make(client, metadata={"n": str(n % 2), "all": "yes"})).id for n in range(4)]
        listing = client.chat.completions.list
        assert [each.id async for each in listing(limit=1)] == made
        assert [each.id async for each in listing(order="desc", after=made[2])] == made[1::-1]
        assert [each.id async for each in listing(metadata={"n": "1", "all": "yes"})] == made[1::2]
        assert [each.id async for each in listing(metadata={"n": "1", "all": "no"})] == []
        assert [each.id async for each in listing(model="other")] == []
        assert len((await listing(model="chat-model")).data) == 4
        assert leftover((await listing()).data) == []
        for name in made:
            await client.chat.completions.delete(name)


async def test_metadata_is_replaced(mesh: GatewayMesh) -> None:
    """And found by from then on; its bounds are OpenAI's."""
    async with mesh.openai() as client:
        name = (await make(client, metadata={"old": "1"})).id
        updated = await client.chat.completions.update(name, metadata={"new": "2"})
        assert updated.metadata == {"new": "2"}
        assert [each.id async for each in client.chat.completions.list(metadata={"new": "2"})] == [name]
        assert (await client.chat.completions.list(metadata={"old": "1"})).data == []
        for wrong in ({"k" * 65: "v"}, {"k": "v" * 513}, {str(n): "" for n in range(17)}):
            with pytest.raises(openai.BadRequestError):
                await client.chat.completions.update(name, metadata=wrong)
        with pytest.raises(openai.BadRequestError):
            await make(client, metadata={"k": 1})
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.update("chatcmpl-nobodys", metadata={})
        await client.chat.completions.delete(name)


async def test_the_messages_of_a_completion_are_listed(mesh: GatewayMesh) -> None:
    """Those of its request, in order, in pages."""
    async with mesh.openai() as client:
        name = (await make(client)).id
        listing = client.chat.completions.messages.list
        messages = [each async for each in listing(name, limit=3)]
        assert [each.role for each in messages] == ["system", "user", "assistant", "tool"]
        assert (messages[0].content, messages[0].content_parts) == ("Be brief.", None)
        assert messages[1].content is None
        assert [part.to_dict() for part in messages[1].content_parts or ()] == HELLO[1]["content"]
        assert messages[2].tool_calls is not None
        assert messages[2].tool_calls[0].to_dict()["function"] == {"name": "f", "arguments": "{}"}
        newest = await listing(name, order="desc", limit=1)
        assert [each.id for each in newest.data] == [messages[-1].id]
        assert [each.id async for each in listing(name, after=messages[2].id)] == [messages[3].id]
        with pytest.raises(openai.BadRequestError):
            await listing(name, after="x")
        await client.chat.completions.delete(name)


async def test_without_a_store_keeping_is_refused_by_name() -> None:
    """Everything else goes on; a full disk refuses before anything is computed."""
    async with gateway_mesh(FakeWorker(), no_store=True) as mesh, mesh.openai() as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await make(client)
        assert (caught.value.param, caught.value.code) == ("store", "unsupported_parameter")
        await client.chat.completions.create(model="chat-model", messages=HELLO, store=False)
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.list()
    worker = FakeWorker()
    async with gateway_mesh(worker, store_spare_bytes=2**62) as mesh, mesh.openai() as client:
        with pytest.raises(openai.InternalServerError) as full:
            await make(client)
        assert (full.value.status_code, full.value.code) == (507, "storage_full")
        assert worker.requests == []
