"""What befalls workers: signals, slowness, restarts."""

import asyncio
import math
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from faulting.mesh import Plan
from faulting.parts import MODEL, Part
from faulting.suite import Bars, Ground, Seen, fault, seen, under_load

_UNREACHABLE = r"worker w0 .* is unreachable"


@fault("worker killed (SIGKILL), started again after 3 s", Bars(gap_s=3, detected_s=1), quick=True)
async def killed(ground: Ground) -> Seen:
    async with ground.mesh() as mesh, under_load(mesh, ground.clients) as load:
        before = len(mesh.parts["gateway0"].said)
        await mesh.parts["worker0"].killed()
        detected = await mesh.parts["gateway0"].says(_UNREACHABLE, 10, before)
        await asyncio.sleep(3)
        mesh.parts["worker0"].start()
        await mesh.complete()
    return seen(load, detected)


@fault("worker stopped (SIGSTOP) for 25 s", Bars(gap_s=15, detected_s=8))
async def stopped(ground: Ground) -> Seen:
    async with ground.mesh() as mesh, under_load(mesh, ground.clients) as load:
        before = len(mesh.parts["gateway0"].said)
        mesh.parts["worker0"].signal(signal.SIGSTOP)
        began = asyncio.get_running_loop().time()
        detected = await mesh.parts["gateway0"].says(_UNREACHABLE, 20, before)
        await asyncio.sleep(25 - (asyncio.get_running_loop().time() - began))
        mesh.parts["worker0"].signal(signal.SIGCONT)
        await mesh.complete()
    return seen(load, detected)


@fault("worker paused (SIGSTOP) for 3 s", Bars(gap_s=4.5), quick=True)
async def paused(ground: Ground) -> Seen:
    """Nobody is to be ejected for it."""
    async with ground.mesh() as mesh, under_load(mesh, ground.clients) as load:
        mesh.parts["worker0"].signal(signal.SIGSTOP)
        await asyncio.sleep(3)
        mesh.parts["worker0"].signal(signal.SIGCONT)
        await asyncio.sleep(3)
        said = mesh.parts["gateway0"].said
    wrong = ("the paused worker was called unreachable",) if "unreachable" in said else ()
    return seen(load, wrong=wrong)


@fault("worker ten times slower for 15 s", Bars(gap_s=6, detected_s=10), quick=True)
async def slow(ground: Ground) -> Seen:
    """It runs for a tenth of the time. Detected is when it gets less than half of its even share from then
    on; it is ejected as well, and what is asked after that takes about as long as before."""
    async with ground.mesh() as mesh, under_load(mesh, ground.clients) as load:
        before = _p99([took for _, _, took in await _calls(mesh.url, 3)])
        length = len(mesh.parts["gateway0"].said)
        async with _slowed(mesh.parts["worker0"]):
            began = time.monotonic()
            asking = asyncio.create_task(_calls(mesh.url, 15))
            ejected = await mesh.parts["gateway0"].says("w0 is ejected: much slower", 15, length)
            calls = await asking
    moments = [begun for begun, worker, _ in calls if worker == "w0" and _share(calls, begun) > 1 / 6]
    shifted = max(moments, default=began) - began
    after = _p99([took for begun, _, took in calls if begun > began + max(10, ejected or 0)])
    wrong = []
    if ejected is None:
        wrong.append("not ejected within 15 s")
    if after > 2 * before + 0.5:
        wrong.append(f"p99 of short calls {after:.2f} s then, {before:.2f} s before")
    told = "" if ejected is None else f"ejected after {ejected:.1f} s, "
    note = f"{told}p99 of short calls {before:.2f} s before, {after:.2f} s then"
    return seen(load, shifted, note=note, wrong=tuple(wrong))


@asynccontextmanager
async def _slowed(part: Part) -> AsyncIterator[None]:
    """Let a process run for a tenth of the time, within the block."""

    async def hinder() -> None:
        while True:
            part.signal(signal.SIGSTOP)
            await asyncio.sleep(0.18)
            part.signal(signal.SIGCONT)
            await asyncio.sleep(0.02)

    hindering = asyncio.create_task(hinder())
    try:
        yield
    finally:
        hindering.cancel()
        part.signal(signal.SIGCONT)


Call = tuple[float, str, float]
"""When a call began, who answered it, and how long it took."""


async def _calls(url: str, seconds: float) -> list[Call]:
    """Short calls: eight clients ask for so long."""
    made: list[Call] = []
    body = {"model": MODEL, "prompt": "hello", "max_tokens": 5}
    end = time.monotonic() + seconds

    async def client() -> None:
        async with httpx.AsyncClient(timeout=60) as http:
            while (began := time.monotonic()) < end:
                answer = (await http.post(f"{url}/v1/completions", json=body)).raise_for_status()
                made.append((began, answer.headers["x-inferloom-worker"], time.monotonic() - began))

    await asyncio.gather(*(client() for _ in range(8)))
    return made


def _share(calls: list[Call], moment: float) -> float:
    """Of the calls that began in the two seconds before, how many were the first worker's."""
    lately = [worker for begun, worker, _ in calls if moment - 2 <= begun <= moment]
    return lately.count("w0") / len(lately)


def _p99(took: list[float]) -> float:
    return sorted(took)[math.ceil(0.99 * len(took)) - 1] if took else math.inf


@fault("all workers restarted one after another (SIGTERM)", Bars(gap_s=3), quick=True)
async def rolled(ground: Ground) -> Seen:
    async with ground.mesh() as mesh, under_load(mesh, ground.clients) as load:
        for number in range(mesh.plan.workers):
            await mesh.parts[f"worker{number}"].restarted()
            await mesh.complete()
    return seen(load)


LONG = 6
"""How often long prompts say the same: their answers take about three seconds."""


@fault("two of three workers killed (SIGKILL) in one second, three times", Bars(gap_s=4))
async def killed_in_turn(ground: Ground) -> Seen:
    """So that many streams are on both; each is started again at once."""
    async with ground.mesh() as mesh, under_load(mesh, ground.clients, LONG) as load:
        workers = [mesh.parts[f"worker{number}"] for number in range(mesh.plan.workers)]
        for number in range(len(workers)):
            pair = workers[number], workers[number - 1]
            lengths = [len(worker.said) for worker in pair]
            for worker in pair:
                await worker.killed()
                worker.start()
                await asyncio.sleep(0.5)
            for worker, length in zip(pair, lengths, strict=True):
                await worker.says("listens on", 20, length)
            await asyncio.sleep(1)
    moved = re.findall(r"moved=(\S+)", mesh.parts["gateway0"].said)
    twice = sum("," in each for each in moved)
    return seen(load, note=f"{len(moved)} requests moved, {twice} of them twice or more")


@fault("the same, with gateways of another version", Bars(gap_s=3), needs_other=True)
async def rolled_under_other_gateways(ground: Ground) -> Seen:
    plan = Plan(gateway_python=ground.other)
    async with ground.mesh(plan) as mesh, under_load(mesh, ground.clients) as load:
        for number in range(mesh.plan.workers):
            await mesh.parts[f"worker{number}"].restarted()
            await mesh.complete()
    return seen(load)
