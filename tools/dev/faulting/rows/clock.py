"""Clocks that are set: leases, deadlines and time-outs are measured by clocks that nobody sets.

Each kind of part has a time of day of its own, which libfaketime makes of a file. It cannot do that to etcd,
whose program asks the kernel itself; etcd's leases are measured by a monotonic clock too.
"""

import asyncio
from pathlib import Path

from faulting.mesh import Plan
from faulting.suite import Bars, Ground, Seen, fault, seen, under_load

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)

HOLD_S = 8.0
"""Longer than a lease."""

STEPS = (("+3600", "-3600", "+0"), ("-3600", "+0", "+3600"), ("+0", "+3600", "-3600"))
"""How far registries, workers and gateways are off, one after another."""


@fault("time of day moved by an hour, each way, on every kind of part", Bars(gap_s=3))
async def moved(ground: Ground) -> Seen:
    """No lease is lost: every epoch stays."""
    if LIBRARY is None:
        raise RuntimeError("libfaketime is not installed (Debian: faketime)")
    kinds = ("registry", "worker", "gateway")
    clocks = {kind: ground.folder / f"{kind}.clock" for kind in kinds}
    settings = {
        kind: {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_CACHE_DURATION": "1",
        }
        for kind, clock in clocks.items()
    }
    for clock in clocks.values():
        clock.write_text("+0\n")
    wrong: list[str] = []
    plan = Plan(registries=2, etcd=1, workers=2, settings=settings)
    async with ground.mesh(plan) as mesh:
        before = {each.worker.id: each.epoch for each in await mesh.workers()}
        async with under_load(mesh, ground.clients) as load:
            for step in (*STEPS, ("+0",) * 3):
                for clock, moved_by in zip(clocks.values(), step, strict=True):
                    clock.write_text(f"{moved_by}\n")
                await asyncio.sleep(HOLD_S if step in STEPS else 2)
        for number in range(plan.registries):
            after = {each.worker.id: each.epoch for each in await mesh.workers(number)}
            if after != before:
                wrong.append(f"registry {number} has the leases {after}, not {before}")
        for name, part in mesh.parts.items():
            if any(word in part.said for word in ("SUSPECT", "EXPIRED", "ALARM", "lease is lost")):
                wrong.append(f"{name} speaks of a lost lease")
    return seen(load, wrong=tuple(wrong))
