"""What befalls workers: signals, slowness, restarts."""

import asyncio
import signal

from faulting.mesh import Plan
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


@fault("all workers restarted one after another (SIGTERM)", Bars(gap_s=3), quick=True)
async def rolled(ground: Ground) -> Seen:
    async with ground.mesh() as mesh, under_load(mesh, ground.clients) as load:
        for number in range(mesh.plan.workers):
            await mesh.parts[f"worker{number}"].restarted()
            await mesh.complete()
    return seen(load)


@fault("the same, with gateways of another version", Bars(gap_s=3), needs_other=True)
async def rolled_under_other_gateways(ground: Ground) -> Seen:
    plan = Plan(gateway_python=ground.other)
    async with ground.mesh(plan) as mesh, under_load(mesh, ground.clients) as load:
        for number in range(mesh.plan.workers):
            await mesh.parts[f"worker{number}"].restarted()
            await mesh.complete()
    return seen(load)
