"""The ways to one vLLM that are measured beside each other: alone, in a worker, beside a worker."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from faulting.mesh import Plan, RunningMesh
from faulting.parts import MODEL

from inferloom_cli.benchmark.endpoint import Endpoint
from serving_vllm.plan import Vllm, beside, in_workers, ready, server
from serving_vllm.spent import family

ALONE, INSIDE, BESIDE = "alone", "in a worker", "as a sidecar"


@dataclass(frozen=True)
class Door:
    """A running way to vLLM."""

    endpoint: Endpoint
    model: str
    processes: Mapping[str, Sequence[int]]
    """Who takes part in an answer: process ids by what they are."""


@asynccontextmanager
async def doors(
    vllm: Vllm, model: Path, query: str, names: Sequence[str], folder: Path
) -> AsyncIterator[dict[str, Door]]:
    """All that are asked for, ready at the same time; the server alone and that of the sidecar are one.

    Args:
        vllm: The installation.
        model: Folder of the model.
        query: Arguments of its engine, for all of them.
        names: Of :data:`ALONE`, :data:`INSIDE` and :data:`BESIDE`.
        folder: Takes logs.
    """
    async with AsyncExitStack() as stack:
        child, url = stack.enter_context(server(vllm, model, MODEL, query, folder))
        plans = {
            INSIDE: in_workers(vllm, f"vllm:{model}?{query}", folder),
            BESIDE: beside(url),
        }
        waits = {
            name: asyncio.create_task(stack.enter_async_context(_mesh(plans[name], folder / name)))
            for name in names
            if name in plans
        }
        try:
            await ready(child, url, folder)
            await asyncio.gather(*waits.values())
        finally:
            for wait in waits.values():
                wait.cancel()
        served = {"vLLM's server": [child.pid], "vLLM's engine": family(child.pid)}
        found = {ALONE: Door(Endpoint.parse(url), MODEL, served)}
        for name, wait in waits.items():
            parts = wait.result().parts
            gateway, registry, worker = (
                parts[part].measured().pid for part in ("gateway0", "registry", "worker0")
            )
            own = {"the gateway": [gateway], "the registry": [registry], "the worker": [worker]}
            own |= served if name == BESIDE else {"vLLM's engine": family(worker)}
            found[name] = Door(Endpoint.parse(f"{wait.result().url}/v1"), MODEL, own)
        yield {name: found[name] for name in names}


def _mesh(plan: Plan, folder: Path) -> RunningMesh:
    folder.mkdir(parents=True)
    return RunningMesh(Path(sys.executable), folder, plan)
