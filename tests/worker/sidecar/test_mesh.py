"""A server of another make as OpenAI's own client sees it: through gateway, registry and worker."""

from typing import Any

import pytest
from aiohttp import web

from tests.patience import until_async
from tests.wire.echo_mesh import echo_mesh
from tests.wire.running_worker import running_worker
from tests.worker.sidecar.fake_server import DONE, USAGE, FakeServer, Say, chunk, event, fake_server, hello


async def test_text_alone_is_streamed_whole_and_alternatives_are_told_by_their_text() -> None:
    """The gateway loses nothing of an answer whose tokens have no ids."""

    async def script(body: dict[str, Any], say: Say) -> None:
        logprobs = None
        if body.get("logprobs"):
            top = [{"token": "one ", "logprob": -0.5}, {"token": "two ", "logprob": -1.5}]
            logprobs = {"content": [{"token": "one ", "logprob": -0.5, "top_logprobs": top}]}
        for word in ("one ", "two ", "three"):
            await say(event(chunk(word, logprobs=logprobs)))
        await say(event(chunk(finish="length")) + event(USAGE) + DONE)

    server = FakeServer(kind="sglang", script=script)
    messages: Any = [{"role": "user", "content": "count"}]
    async with (
        fake_server(server),
        echo_mesh(f"chat=sidecar:{server.url}") as mesh,
        mesh.openai() as client,
    ):
        stream = await client.chat.completions.create(
            model="chat", messages=messages, stream=True, stream_options={"include_usage": True}
        )
        chunks = [each async for each in stream]
        whole = await client.chat.completions.create(
            model="chat", messages=messages, logprobs=True, top_logprobs=2
        )
        card = (await mesh.http.get("/v1/models/chat")).json()
    text = [choice.delta.content or "" for each in chunks for choice in each.choices]
    assert "".join(text) == "one two three"
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (7, 3)
    assert (card["engine"], card["server"]) == ("sidecar", "sglang")
    choice = whole.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("one two three", "length")
    assert choice.logprobs is not None
    assert [top.token for top in (choice.logprobs.content or [])[0].top_logprobs] == ["one ", "two "]


@pytest.mark.parametrize("dies", ["before its head", "behind its head", "in an event"])
async def test_another_server_takes_what_nothing_was_said_of(
    dies: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at another address has the same model, though nobody can say that it computes the same."""
    asked = 0

    async def script(body: dict[str, Any], say: Say) -> None:
        if asked > 1:
            await hello(body, say)
        elif dies == "in an event":
            await say(event({"error": {"message": "the engine died", "code": 500}}))
        else:
            writer: Any = say
            writer.__self__._payload_writer.transport.abort()

    def counted(server: FakeServer) -> Any:
        answering = server._answer

        async def answer(request: web.Request) -> web.StreamResponse:
            nonlocal asked
            asked += 1
            if asked == 1 and dies != "behind its head":
                server.model = {"id": "none"}  # what it has left when it is looked at
            if asked == 1 and dies == "before its head":
                return web.Response(status=500)
            response: web.StreamResponse = await answering(request)
            return response

        return answer

    servers = [FakeServer(kind="openai", script=script) for _ in range(2)]
    for server in servers:
        monkeypatch.setattr(server, "_answer", counted(server))
    messages: Any = [{"role": "user", "content": "hi"}]
    async with (
        fake_server(servers[0]),
        fake_server(servers[1]),
        echo_mesh(f"chat=sidecar:{servers[0].url}") as mesh,
        running_worker(f"chat=sidecar:{servers[1].url}", registry=str(mesh.registry)),
        mesh.openai() as client,
    ):

        async def workers() -> int:
            return len((await mesh.http.get("/v1/models/chat")).json()["workers"])

        await until_async(workers, "two workers", lambda count: count == 2)
        answer = await client.chat.completions.create(model="chat", messages=messages)
    assert (answer.choices[0].message.content, asked) == ("Hello", 2)
