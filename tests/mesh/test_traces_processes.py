"""A request through real processes, one of which is killed on the way, is one trace."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest
from openai import AsyncOpenAI

from inferloom_mesh import otlp_encoding as kinds
from tests.mesh.processes import Mesh
from tests.wire.otlp_receiver import http_receiver
from tests.wire.test_traces import GENERATE, PARENT, SPAN, TRACE, named, tree

pytestmark = pytest.mark.slow

ASKED: Any = {"model": "echo", "messages": [{"role": "user", "content": "a b c d " * 30}]}


@pytest.mark.parametrize("link", ["attach", "call"])
async def test_a_stream_whose_worker_is_killed_is_one_trace(up: Callable[..., Mesh], link: str) -> None:
    """The attempt that failed has no worker's span, since its worker took it along; the next one has all."""
    async with http_receiver() as received:
        settings = {"INFERLOOM_OTLP_ENDPOINT": received.endpoint, "INFERLOOM_LINK": link}
        mesh = await asyncio.to_thread(
            lambda: up("--model", "echo=echo:delay_ms=20", "--workers", "2", settings=settings)
        )
        async with AsyncOpenAI(base_url=mesh.base_url, api_key="none", max_retries=0) as client:
            answer = await client.chat.completions.with_raw_response.create(
                **ASKED, max_tokens=60, stream=True, extra_headers={"traceparent": PARENT}
            )
            name, ends = answer.headers["x-inferloom-worker"], []
            async for each in answer.parse():
                ends += [choice.finish_reason for choice in each.choices]
                if len(ends) == 6:
                    victim = next(
                        p for p in mesh.family() if p.cmdline()[3:4] == ["worker"] and name in p.cmdline()
                    )
                    victim.send_signal(signal.SIGKILL)
            assert "length" in ends
        spans = [span for span in await received.until(8) if span.trace_id == TRACE]
    door, whole = "POST /v1/chat/completions", named(spans, "chat echo", kinds.CLIENT)
    assert tree(spans) == {
        "": [door],
        door: ["chat echo"],
        "chat echo": [GENERATE, GENERATE],
        GENERATE: ["decode", GENERATE, "prefill", "queue"],
    }
    assert named(spans, door, kinds.SERVER).parent_id == SPAN
    first, second = (span for span in spans if (span.name, span.kind) == (GENERATE, kinds.CLIENT))
    assert (first.failed, first.attributes["error.type"], first.attributes["inferloom.worker"]) == (
        *(True, "worker_lost"),
        name,
    )
    assert second.links == (first.span_id,)
    assert named(spans, GENERATE, kinds.SERVER).parent_id == second.span_id
    ((event, _, more),) = whole.events
    assert (event, more["inferloom.worker"]) == ("inferloom.moved", second.attributes["inferloom.worker"])
    assert whole.attributes["gen_ai.usage.output_tokens"] == 60
