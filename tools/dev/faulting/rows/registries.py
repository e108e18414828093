"""What befalls the registry."""

import asyncio

from faulting.mesh import Plan
from faulting.suite import Bars, Ground, Seen, fault, seen, under_load


@fault("registry killed for 60 s, while a worker restarts", Bars(gap_s=3))
async def away(ground: Ground) -> Seen:
    return await _away(ground, 60)


@fault("registry killed for 10 s, while a worker restarts", Bars(gap_s=3), quick=True)
async def away_briefly(ground: Ground) -> Seen:
    return await _away(ground, 10)


@fault("registry cut off from all gateways for 20 s", Bars(gap_s=1.5))
async def cut_off_from_gateways(ground: Ground) -> Seen:
    return await _cut_off(ground, "registry for gateways", 20)


@fault("registry cut off from all workers for 20 s", Bars(gap_s=1.5), quick=True)
async def cut_off_from_workers(ground: Ground) -> Seen:
    """All leases run out at once, which is taken for the network's fault."""
    return await _cut_off(ground, "registry for workers", 20)


async def _away(ground: Ground, down_s: float) -> Seen:
    async with ground.mesh() as mesh, under_load(mesh, ground.clients) as load:
        await mesh.parts["registry"].killed()
        began = asyncio.get_running_loop().time()
        await mesh.parts["worker0"].restarted()
        await asyncio.sleep(down_s - (asyncio.get_running_loop().time() - began))
        mesh.parts["registry"].start()
        await mesh.complete()
    return seen(load)


async def _cut_off(ground: Ground, proxy: str, away_s: float) -> Seen:
    async with ground.mesh(Plan(proxied=True)) as mesh, under_load(mesh, ground.clients) as load:
        mesh.proxies[proxy].part()
        await asyncio.sleep(away_s)
        mesh.proxies[proxy].heal()
        await mesh.complete()
    return seen(load)
