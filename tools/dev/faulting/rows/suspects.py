"""One request that kills whichever worker takes it."""

import os
from pathlib import Path

import httpx

from faulting.deadly_engine import DEADLY, ENTRY_POINTS
from faulting.mesh import Plan
from faulting.parts import MODEL
from faulting.suite import Bars, Ground, Seen, fault, seen, under_load

NEIGHBOURS = 16
WORKERS = 4


@fault(f"one request that kills its worker, {NEIGHBOURS} neighbours, {WORKERS} workers", Bars(), quick=True)
async def deadly(ground: Ground) -> Seen:
    """At most two workers die of it, and no neighbour is lost."""
    offered = ground.folder / "engines" / "deadly-0.dist-info"
    offered.mkdir(parents=True)
    (offered / "METADATA").write_text("Metadata-Version: 2.1\nName: deadly\nVersion: 0\n")
    (offered / "entry_points.txt").write_text(ENTRY_POINTS)
    tools = Path(__file__).parents[2]
    path = [str(offered.parent), str(tools), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {"worker": {"PYTHONPATH": os.pathsep.join(path)}}
    plan = Plan(workers=WORKERS, spec="deadly:", settings=settings)
    async with ground.mesh(plan) as mesh:
        async with under_load(mesh, NEIGHBOURS // 2) as load, httpx.AsyncClient(timeout=60) as http:
            body = {"model": MODEL, "messages": [{"role": "user", "content": DEADLY}], "max_tokens": 60}
            answer = await http.post(f"{mesh.urls[0]}/v1/chat/completions", json=body)
        workers = [mesh.parts[f"worker{number}"].process for number in range(WORKERS)]
        dead = sum(process is not None and process.poll() is not None for process in workers)
    wrong = [] if dead <= 2 else [f"{dead} workers died"]
    if answer.status_code != 503:
        wrong.append(f"the request was answered with {answer.status_code}")
    return seen(load, wrong=tuple(wrong), note=f"{dead} workers died")
