"""Workers of one model name that compute it differently."""

import asyncio
import math
import re
from collections import Counter
from dataclasses import dataclass

import httpx

from faulting.load import expected, said
from faulting.mesh import Plan, RunningMesh
from faulting.parts import MODEL
from faulting.suite import Bars, Ground, Seen, fault

STREAMS = 12
OTHER = "worker2"

_MOVED = re.compile(r"worker=(\S+).* moved=")


@dataclass(frozen=True, slots=True)
class _Answer:
    worker: str
    """That began it."""
    whole: bool
    error: str


@fault(f"two workers killed in turn under {STREAMS} streams, beside one that computes differently", Bars())
async def differs(ground: Ground) -> Seen:
    """What the first has begun goes on at the second, and never at the third; what the second has begun then
    ends with worker_lost, since nobody is left who would go on with it as it was."""
    async with ground.mesh(Plan(workers=3, specs={OTHER: "echo:delay_ms=20,context=4096"})) as mesh:
        first = await _killed(mesh, "worker0")
        moved = _MOVED.findall(mesh.parts["gateway0"].said)
        second = await _killed(mesh, "worker1")
        named = "do not compute the same" in mesh.parts["gateway0"].said
    errors = Counter(each.error or "broken off" for each in first if not each.whole)
    for each in second:
        if each.whole != (each.worker == "w2"):
            errors[f"{'whole' if each.whole else each.error} from {each.worker}"] += 1
    told = sum(each.error == "worker_lost" for each in second)
    wrong = []
    if not moved or any("w2" in workers.split(",")[1:] for workers in moved):
        wrong.append(f"moved to {moved}")
    if not told:
        wrong.append("nobody was told worker_lost")
    if not named:
        wrong.append("the gateway's log does not say that they differ")
    return Seen(
        failed=errors.total(),
        answered=len(first) + len(second) - errors.total(),
        gap_s=math.nan,
        errors=dict(errors),
        wrong=tuple(wrong),
        note=f"{len(moved)} streams went on at the worker that computes alike, {told} were told worker_lost",
    )


async def _killed(mesh: RunningMesh, name: str) -> list[_Answer]:
    """Kill a worker under streams."""
    begun: asyncio.Queue[int] = asyncio.Queue()
    asking = [asyncio.create_task(_ask(mesh, number, begun)) for number in range(STREAMS)]
    async with asyncio.timeout(60):
        for _ in range(STREAMS):
            await begun.get()
    await asyncio.sleep(0.3)
    await mesh.parts[name].killed()
    return list(await asyncio.gather(*asking))


async def _ask(mesh: RunningMesh, number: int, begun: "asyncio.Queue[int]") -> _Answer:
    prompt = f"prompt {number} of a client; " * 4
    turn = {"role": "user", "content": prompt}
    body = {"model": MODEL, "messages": [turn], "max_tokens": 200, "stream": True}
    text = b""
    async with (
        httpx.AsyncClient(timeout=60) as http,
        http.stream("POST", f"{mesh.url}/v1/chat/completions", json=body) as response,
    ):
        begun.put_nowait(number)
        async for piece in response.aiter_raw():
            text += piece
        worker = response.headers.get("x-inferloom-worker", "")
    error = re.search(rb'"code":"(\w+)"', text)
    whole = text.endswith(b"[DONE]\n\n") and said(text) == expected(prompt)
    return _Answer(worker, whole, error[1].decode() if error else "")
