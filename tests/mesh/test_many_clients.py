"""Many clients at once, on the real chat model."""

import asyncio

from openai import AsyncOpenAI

from tests.mesh.conftest import CHAT
from tests.mesh.processes import Mesh

CLIENTS = 32
ALONE = 6
"""How many of the streams are compared with the same request alone; all would take minutes."""


async def stream(client: AsyncOpenAI, n: int) -> tuple[str, str | None, int]:
    """Stream the answer to question ``n``; return its text, why it ended, and its tokens."""
    chunks = await client.chat.completions.create(
        model=CHAT,
        messages=[{"role": "user", "content": f"Name {n + 2} animals that live in the sea."}],
        max_tokens=16,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    text, reason, tokens = "", None, 0
    async for chunk in chunks:
        for choice in chunk.choices:
            assert reason is None, "text after the end"
            text += choice.delta.content or ""
            reason = choice.finish_reason
        if chunk.usage:
            tokens = chunk.usage.completion_tokens
    return text, reason, tokens


async def test_every_one_of_32_streams_is_complete_and_correct(demo: Mesh) -> None:
    """Each stream ends well, counts its tokens, and says what it says when it runs alone."""
    async with AsyncOpenAI(base_url=demo.base_url, api_key="none", max_retries=0) as client:
        together = await asyncio.gather(*(stream(client, n) for n in range(CLIENTS)))
        for text, reason, tokens in together:
            assert text.strip()
            assert reason in {"stop", "length"}
            assert (tokens == 16) if reason == "length" else (0 < tokens < 16)
        alone = [await stream(client, n) for n in range(ALONE)]
    assert alone == together[:ALONE]
