"""One request that kills whichever worker takes it."""

import asyncio
import os
from pathlib import Path

import httpx

from faulting.deadly_engine import DEADLY, DEADLY_TO_READ, ENTRY_POINTS
from faulting.load import TOKENS
from faulting.mesh import Plan, RunningMesh
from faulting.parts import MODEL
from faulting.suite import Bars, Ground, Seen, fault, seen, under_load

NEIGHBOURS = 16
WORKERS = 4
AGAIN = 3
REPEATS = 1
"""A token takes long here (:mod:`faulting.deadly_engine`), so neighbours' answers are short."""

LIKE_A_NEIGHBOUR = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "prompt 10 of a client; " * REPEATS}],
    "max_tokens": TOKENS,
}
BODY = {"model": MODEL, "messages": [{"role": "user", "content": DEADLY}], "max_tokens": 60}
READ = BODY | {"messages": [{"role": "user", "content": DEADLY_TO_READ}]}


@fault(f"one request that kills its worker, {NEIGHBOURS} neighbours, {WORKERS} workers", Bars(), quick=True)
async def deadly(ground: Ground) -> Seen:
    """At most two workers die of it, and no neighbour is lost."""
    return await _deadly(ground, 1)


@fault(f"one that does so before its worker has begun to answer, {WORKERS} workers", Bars(), quick=True)
async def deadly_to_read(ground: Ground) -> Seen:
    """At most two workers die of it, and no neighbour is lost."""
    return await _deadly(ground, 1, READ)


@fault(
    f"the same at one of two gateways, with its {NEIGHBOURS} neighbours at both, {WORKERS} workers",
    Bars(failed=NEIGHBOURS // 2),
)
async def deadly_across(ground: Ground) -> Seen:
    """At most two workers die of it. Gateways do not see each other's suspects, so neighbours at the other
    may be lost (decision 23)."""
    return await _deadly(ground, 2)


async def _deadly(ground: Ground, gateways: int, body: dict[str, object] = BODY) -> Seen:
    async with ground.mesh(_plan(ground, gateways)) as mesh, httpx.AsyncClient(timeout=60) as http:
        url = f"{mesh.urls[0]}/v1/chat/completions"
        alone = await http.post(url, json=LIKE_A_NEIGHBOUR)
        async with under_load(mesh, NEIGHBOURS // 2, REPEATS) as load:
            answer = await http.post(url, json=body)
        dead = _dead(mesh)
    wrong = [] if dead <= 2 else [f"{dead} workers died"]
    if answer.status_code != 503:
        wrong.append(f"the request was answered with {answer.status_code}")
    whole_s = alone.raise_for_status().elapsed.total_seconds()
    note = f"{dead} workers died; a call takes {whole_s:.2f} s where nothing dies"
    return seen(load, wrong=tuple(wrong), note=note)


@fault(
    f"one that is asked again, {AGAIN} times at two gateways that share a store, {WORKERS} workers", Bars()
)
async def deadly_again(ground: Ground) -> Seen:
    """At most two workers die of all, each is told when to come back, and another request is answered."""
    other = BODY | {"messages": [{"role": "user", "content": "hello"}]}
    async with ground.mesh(_plan(ground, 2)) as mesh, httpx.AsyncClient(timeout=60) as http:
        wrong = []
        for number in range(1 + AGAIN):
            answer = await http.post(f"{mesh.urls[number % 2]}/v1/chat/completions", json=BODY)
            if answer.status_code != 503 or "retry-after" not in answer.headers:
                wrong.append(f"the request was answered with {answer.status_code}")
            await asyncio.sleep(1)  # what an SDK waits
        dead = _dead(mesh)
        answered = [
            (await http.post(f"{url}/v1/chat/completions", json=other)).status_code for url in mesh.urls
        ]
    if dead > 2:
        wrong.append(f"{dead} workers died")
    return Seen(
        failed=sum(status != 200 for status in answered),
        answered=answered.count(200),
        wrong=tuple(wrong),
        note=f"{dead} workers died",
    )


def _plan(ground: Ground, gateways: int) -> Plan:
    """A mesh whose engine ends its process at one request."""
    offered = ground.folder / "engines" / "deadly-0.dist-info"
    offered.mkdir(parents=True)
    (offered / "METADATA").write_text("Metadata-Version: 2.1\nName: deadly\nVersion: 0\n")
    (offered / "entry_points.txt").write_text(ENTRY_POINTS)
    tools = Path(__file__).parents[2]
    path = [str(offered.parent), str(tools), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {"worker": {"PYTHONPATH": os.pathsep.join(path)}}
    return Plan(workers=WORKERS, gateways=gateways, spec="deadly:", settings=settings)


def _dead(mesh: RunningMesh) -> int:
    workers = [mesh.parts[f"worker{number}"].process for number in range(WORKERS)]
    return sum(process is not None and process.poll() is not None for process in workers)
