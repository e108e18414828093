"""What befalls registries that share an etcd, and that etcd.

Whatever it is, no request fails, no lease is lost (epochs stay as they are), and in the end every registry
and every gateway has every worker.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from faulting.etcd import Cluster, etcdctl
from faulting.mesh import Plan, RunningMesh
from faulting.suite import Bars, Ground, Seen, fault, seen, under_load

TWO = Plan(registries=2, etcd=3, workers=2)

BARS = Bars(gap_s=3)

FROZEN = r"ALARM: the store is out of reach"
BACK = r"alarm over: the store is back"


@fault("etcd's leader killed, for 10 s", BARS)
async def leader_killed(ground: Ground) -> Seen:
    async with _shared(ground) as (mesh, wrong):
        async with under_load(mesh, ground.clients) as load:
            leader = _etcd(mesh).leader()
            leader.kill()
            await asyncio.sleep(10)
            leader.start()
            await asyncio.sleep(3)
        froze = any(FROZEN in mesh.parts[name].said for name in ("registry", "registry1"))
    # An election takes about a second, and the set is frozen after three without an answer.
    late = ("an election froze the set",) if froze else ()
    return replace(seen(load, wrong=tuple(wrong)), late=late)


@fault("etcd's leader paused for 15 s", BARS)
async def leader_paused(ground: Ground) -> Seen:
    async with _shared(ground) as (mesh, wrong), under_load(mesh, ground.clients) as load:
        leader = _etcd(mesh).leader()
        leader.kill(signal.SIGSTOP)
        await asyncio.sleep(15)
        leader.kill(signal.SIGCONT)
        await asyncio.sleep(3)
    return seen(load, wrong=tuple(wrong))


@fault("etcd's quorum lost for 30 s", Bars(gap_s=3, detected_s=8), quick=True)
async def quorum_lost(ground: Ground) -> Seen:
    """The set is frozen and said to be; afterwards workers come and go as ever."""
    async with _shared(ground) as (mesh, wrong), under_load(mesh, ground.clients) as load:
        _, *others = _etcd(mesh).members
        for member in others:
            member.kill()
        detected = await mesh.parts["registry"].says(FROZEN, 20)
        await asyncio.sleep(30 - (detected or 20))
        for member in others:
            member.start()
        for name in ("registry", "registry1"):
            if await mesh.parts[name].says(BACK, 20) is None:
                wrong.append(f"{name} did not come back")
    return seen(load, detected, wrong=tuple(wrong))


@fault("etcd compacted while a registry's watch is broken", BARS)
async def compacted(ground: Ground) -> Seen:
    """The registry hangs, the member that it watches restarts, and what it missed is not kept any more."""
    async with _shared(ground) as (mesh, wrong), under_load(mesh, ground.clients) as load:
        registry, member = mesh.parts["registry"], _etcd(mesh).members[0]
        registry.signal(signal.SIGSTOP)
        member.kill()
        member.start()
        await asyncio.to_thread(_etcd(mesh).until_answers)
        for number in range(3):
            etcdctl(member.address, "put", "/inferloom/nothing", str(number))
        revision = etcdctl(member.address, "get", "x", "-w", "fields").split('"Revision" : ')[1].split()[0]
        etcdctl(member.address, "compact", revision)
        registry.signal(signal.SIGCONT)
        if await registry.says("reading everything anew", 20) is None:
            wrong.append("the registry did not read everything anew")
        await asyncio.sleep(3)
    return seen(load, wrong=tuple(wrong))


@fault("one of two registries killed for 25 s", BARS)
async def registry_killed(ground: Ground) -> Seen:
    async with _shared(ground) as (mesh, wrong), under_load(mesh, ground.clients) as load:
        await mesh.parts["registry1"].killed()
        await asyncio.sleep(25)
        mesh.parts["registry1"].start()
        await mesh.complete()
    return seen(load, wrong=tuple(wrong))


@fault("one of two registries hung for 20 s", BARS)
async def registry_hung(ground: Ground) -> Seen:
    async with _shared(ground) as (mesh, wrong), under_load(mesh, ground.clients) as load:
        mesh.parts["registry"].signal(signal.SIGSTOP)
        await asyncio.sleep(20)
        mesh.parts["registry"].signal(signal.SIGCONT)
        await asyncio.sleep(5)
    return seen(load, wrong=tuple(wrong))


@fault("both registries restarted in turn", BARS, quick=True)
async def rolling(ground: Ground) -> Seen:
    async with _shared(ground) as (mesh, wrong), under_load(mesh, ground.clients) as load:
        for name in ("registry", "registry1"):
            await mesh.parts[name].restarted()
            await mesh.complete()
            await asyncio.sleep(2)
    return seen(load, wrong=tuple(wrong))


@fault("one of two registries cut off from all workers for 30 s", BARS)
async def cut_off(ground: Ground) -> Seen:
    """They go to the other."""
    plan = Plan(registries=2, etcd=1, workers=2, proxied=True)
    async with _shared(ground, plan) as (mesh, wrong), under_load(mesh, ground.clients) as load:
        mesh.proxies["registry for workers"].part()
        await asyncio.sleep(30)
        mesh.proxies["registry for workers"].heal()
    return seen(load, wrong=tuple(wrong))


@fault("both registries and etcd killed for 20 s", BARS)
async def all_killed(ground: Ground) -> Seen:
    async with _shared(ground) as (mesh, wrong), under_load(mesh, ground.clients) as load:
        for name in ("registry", "registry1"):
            await mesh.parts[name].killed()
        for member in _etcd(mesh).members:
            member.kill()
        await asyncio.sleep(20)
        for name in ("registry", "registry1"):
            mesh.parts[name].start()
        await asyncio.sleep(2)
        for member in _etcd(mesh).members:
            member.start()
        await mesh.complete()
    return seen(load, wrong=tuple(wrong))


@asynccontextmanager
async def _shared(ground: Ground, plan: Plan = TWO) -> AsyncIterator[tuple[RunningMesh, list[str]]]:
    """A mesh whose leases must all be as they were when the block ends, and what was wrong with that."""
    wrong: list[str] = []
    async with ground.mesh(plan) as mesh:
        before = await _leases(mesh, 0)
        yield mesh, wrong
        await mesh.complete()
        wrong += [
            f"registry {number} has the leases {after}, not {before}"
            for number in range(plan.registries)
            if (after := await _leases(mesh, number)) != before
        ]


async def _leases(mesh: RunningMesh, number: int) -> dict[str, int]:
    return {each.worker.id: each.epoch for each in await mesh.workers(number)}


def _etcd(mesh: RunningMesh) -> Cluster:
    assert mesh.etcd is not None
    return mesh.etcd
