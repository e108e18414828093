"""What befalls gateways."""

import asyncio
from typing import TYPE_CHECKING

import grpc

from faulting.mesh import Plan, RunningMesh
from faulting.suite import Bars, Ground, Seen, fault, seen, under_load
from inferloom.v1 import worker_pb2
from inferloom.v1.worker_pb2_grpc import WorkerServiceStub

if TYPE_CHECKING:
    from inferloom.v1.worker_pb2_grpc import WorkerServiceAsyncStub

_TWO = Plan(gateways=2, settings={"gateway": {"INFERLOOM_DRAIN_DELAY_S": "1"}})


@fault("both gateways restarted one after another (SIGTERM)", Bars(gap_s=3), quick=True)
async def rolled(ground: Ground) -> Seen:
    return await _rolled(ground, _TWO)


@fault("the same, with workers of another version", Bars(gap_s=3), needs_other=True)
async def rolled_over_other_workers(ground: Ground) -> Seen:
    return await _rolled(ground, Plan(gateways=2, settings=_TWO.settings, worker_python=ground.other))


@fault("gateway killed: its workers' slots are free again", Bars(failed=10**6, detected_s=1), quick=True)
async def killed(ground: Ground) -> Seen:
    """What its clients lose is theirs to ask again; the bar is for the slots."""
    async with ground.mesh(Plan(spec="echo:delay_ms=200")) as mesh, under_load(mesh, ground.clients) as load:
        busy = await _running(mesh)
        load.end()
        await mesh.parts["gateway0"].killed()
        began = asyncio.get_running_loop().time()
        freed = None
        while freed is None and asyncio.get_running_loop().time() - began < 20:
            if not await _running(mesh):
                freed = asyncio.get_running_loop().time() - began
        mesh.parts["gateway0"].start()
        await mesh.complete()
    wrong = () if busy else ("nothing ran when it was killed",)
    return seen(load, freed, note=f"{busy} slots", wrong=wrong)


async def _rolled(ground: Ground, plan: Plan) -> Seen:
    async with ground.mesh(plan) as mesh, under_load(mesh, ground.clients) as load:
        for number in range(plan.gateways):
            await mesh.parts[f"gateway{number}"].restarted()
            await mesh.complete()
            await asyncio.sleep(1)  # for the balancer to notice
    return seen(load)


async def _running(mesh: RunningMesh) -> int:
    """How many calls run on all workers."""
    taken = 0
    for row in await mesh.workers():
        async with grpc.aio.insecure_channel(row.worker.address) as channel:
            stub: WorkerServiceAsyncStub = WorkerServiceStub(channel)
            status = await stub.GetStatus(worker_pb2.GetStatusRequest(), timeout=5)
            taken += status.load.running
    return taken
