"""A gateway that is told to stop: not ready first, then deaf, and gone when its streams are finished."""

import asyncio
from typing import Any

import httpx
import orjson
import pytest

from tests.patience import PATIENCE_S
from tests.wire.echo_mesh import EchoMesh, echo_mesh

LONG: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "x" * 60}],
    "max_tokens": 200,
    "stream": True,
}
"""About 3 s."""
DELAY_S = 1234.5

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


async def test_a_gateway_leaves_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness goes first, and for the delay everything else is as before, but that connections end with
    their answers; what runs is finished."""
    sleep, delay_over = asyncio.sleep, asyncio.Event()

    async def sleep_(seconds: float, result: object = None) -> object:
        return await (delay_over.wait() if seconds == DELAY_S else sleep(seconds, result))

    monkeypatch.setattr(asyncio, "sleep", sleep_)
    settings = {"drain_delay_s": DELAY_S, "drain_limit_s": PATIENCE_S}
    async with echo_mesh("m=echo:delay_ms=40", gateway=settings) as mesh:
        begun = asyncio.Event()
        running = asyncio.create_task(text_of(mesh, begun))
        await begun.wait()
        mesh.stop.set()
        await asyncio.sleep(0)
        assert (await mesh.http.get("/health/ready")).status_code == 503
        assert (await mesh.http.get("/health/live")).status_code == 200
        answer = await mesh.http.post("/v1/completions", json=SHORT)
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert not mesh.serving.done()
        delay_over.set()
        assert await running == "user\n" + "x" * 60
        await mesh.serving
        with pytest.raises(httpx.ConnectError):
            await mesh.http.get("/health/live")
