"""A gateway that is told to stop: not ready first, then deaf, and gone when its streams are finished."""

import asyncio
import time
from typing import Any

import httpx
import orjson
import pytest

from tests.wire.echo_mesh import EchoMesh, echo_mesh

LONG: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "x" * 60}],
    "max_tokens": 200,
    "stream": True,
}
"""About 3 s."""

SHORT = {"model": "m", "prompt": "abc", "max_tokens": 3}


async def text_of(mesh: EchoMesh, begun: asyncio.Event) -> str:
    """The text of a long stream; says when it has begun."""
    text = ""
    async with mesh.http.stream("POST", "/v1/chat/completions", json=LONG) as answer:
        async for line in answer.aiter_lines():
            begun.set()
            if line.startswith("data: {"):
                text += orjson.loads(line[6:])["choices"][0]["delta"].get("content") or ""
    assert line == "" or line.endswith("[DONE]")
    return text


async def test_a_gateway_leaves_in_order() -> None:
    """Readiness goes first, and for the delay everything else is as before, but that connections end with
    their answers; what runs is finished."""
    async with echo_mesh("m=echo:delay_ms=40", gateway={"drain_delay_s": 3.0, "drain_limit_s": 20}) as mesh:
        begun = asyncio.Event()
        running = asyncio.create_task(text_of(mesh, begun))
        await begun.wait()
        mesh.stop.set()
        began = time.monotonic()
        await asyncio.sleep(0)
        assert (await mesh.http.get("/health/ready")).status_code == 503
        assert (await mesh.http.get("/health/live")).status_code == 200
        answer = await mesh.http.post("/v1/completions", json=SHORT)
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert time.monotonic() - began < 3.0, "the machine is too slow for this test to say anything"
        assert await running == "user\n" + "x" * 60
        await mesh.serving
        with pytest.raises(httpx.ConnectError):
            await mesh.http.get("/health/live")
