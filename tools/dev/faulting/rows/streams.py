"""Resumable streams, whose gateway dies."""

import asyncio
import math
import time

import httpx

from faulting.load import expected, said
from faulting.mesh import Plan, RunningMesh
from faulting.parts import MODEL
from faulting.suite import Bars, Ground, Seen, fault

STREAMS = 16
LIMIT_S = 60.0


@fault(
    f"a gateway killed (SIGKILL) under {STREAMS} resumable streams, of two that share a store",
    Bars(gap_s=9),
    quick=True,
)
async def gateway_killed(ground: Ground) -> Seen:
    """Their clients go to the other gateway with the id of their last event."""
    async with ground.mesh(Plan(workers=2, gateways=2)) as mesh:
        asking = [asyncio.create_task(_ask(mesh, number)) for number in range(STREAMS)]
        await asyncio.sleep(1.5)
        await mesh.parts["gateway0"].killed()
        found = await asyncio.gather(*asking)
    wrong = [error for error, _ in found if error]
    return Seen(
        failed=len(wrong),
        answered=STREAMS - len(wrong),
        gap_s=max((gap for _, gap in found), default=math.nan),
        errors={error: wrong.count(error) for error in wrong},
    )


async def _ask(mesh: RunningMesh, number: int) -> tuple[str, float]:
    """What was wrong with one stream, and the longest time in which nothing came."""
    prompt = f"prompt {number} of a client; " * 6
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": 400,
        "stream": True,
    }
    text, name, last, gap = b"", "", "", 0.0
    came = began = time.monotonic()
    async with httpx.AsyncClient(timeout=20) as http:
        while time.monotonic() - began < LIMIT_S:
            url = mesh.urls[1 if name else 0]
            asked = (
                http.stream("GET", f"{url}/v1/streams/{name}", headers={"last-event-id": last})
                if name
                else http.stream(
                    "POST", f"{url}/v1/chat/completions", json=body, headers={"x-inferloom-resumable": "30"}
                )
            )
            try:
                async with asked as response:
                    if response.status_code != 200:
                        return f"status {response.status_code}", gap
                    name = response.headers["x-inferloom-stream"]
                    async for line in response.aiter_lines():
                        if line.startswith("id: "):
                            last = line[4:]
                        elif line.startswith("data: "):
                            gap, came = max(gap, time.monotonic() - came), time.monotonic()
                            text += line.encode() + b"\n\n"
            except httpx.TransportError:
                continue
            if not text.endswith(b"[DONE]\n\n"):
                return "no [DONE]", gap
            return ("" if said(text) == expected(prompt) else "wrong"), gap
    return "too late", gap
