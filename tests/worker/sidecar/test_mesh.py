"""A server of another make as OpenAI's own client sees it: through gateway, registry and worker."""

from typing import Any

from tests.wire.echo_mesh import echo_mesh
from tests.worker.sidecar.fake_server import DONE, USAGE, FakeServer, Say, chunk, event, fake_server


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
