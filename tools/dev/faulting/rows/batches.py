"""Batches that were accepted, whoever dies."""

import asyncio
import math

from faulting.batch import missing, submit
from faulting.mesh import Plan
from faulting.suite import Bars, Ground, Seen, fault

LINES = 200


@fault(f"a batch of {LINES} lines: both workers killed at once, and one of two gateways", Bars(), quick=True)
async def everything_killed(ground: Ground) -> Seen:
    """The workers are away for 3 s, so lines wait; the dead gateway's lines are the other one's."""
    settings = {"gateway": {"INFERLOOM_BATCH_LEASE_S": "2"}}
    async with ground.mesh(Plan(workers=2, gateways=2, settings=settings)) as mesh:
        batch = await submit(mesh, LINES)
        await asyncio.sleep(1)
        await mesh.parts["gateway0"].killed()
        await asyncio.sleep(1)
        await asyncio.gather(*(mesh.parts[f"worker{number}"].killed() for number in range(2)))
        await asyncio.sleep(3)
        for name in ("worker0", "worker1", "gateway0"):
            mesh.parts[name].start()
        wrong = await missing(mesh, batch, LINES)
    lost = LINES if wrong else 0
    return Seen(failed=lost, answered=LINES - lost, gap_s=math.nan, wrong=(wrong,) if wrong else ())
