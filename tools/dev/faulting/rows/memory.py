"""Workers that run out of memory."""

import asyncio
import itertools
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from faulting.batch import missing, submit
from faulting.mesh import Plan, RunningMesh
from faulting.parts import MODEL
from faulting.rows.migration import Said, ask
from faulting.suite import Bars, Ground, Seen, fault, seen, under_load

STREAMS = 12
LINES = 8
SPARE_BYTES = 8 * 2**20
"""What the worker may take beyond what it has when its limit is set."""

_CACHE = {
    "INFERLOOM_THREADS": "1",
    "INFERLOOM_CONTEXT_LENGTH": "256",
    "INFERLOOM_KV_CACHE_MIB": "1",
    "INFERLOOM_MAX_RUNNING": "16",
}
_UNREACHABLE = r"worker w0 .* is unreachable"
_GROUPS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
_JOIN = ("sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"')


@fault(f"the cache of both workers exhausted by {STREAMS} streams, three times over", Bars())
async def cache(ground: Ground) -> Seen:
    """Each worker has room for one context. Requests are put off and gone on with, and say what they say
    alone; a batch that was accepted before is answered behind them."""
    plan = Plan(workers=2, spec="smollm2-135m-instruct", settings={"worker": _CACHE})
    rng = random.Random(1)
    asked = []
    for number in range(STREAMS):
        words = " ".join(rng.choice(("sea", "sky", "stone", "bread", "north")) for _ in range(80))
        turn = {"role": "user", "content": f"{number}: {words}"}
        body = {"model": MODEL, "messages": [turn], "temperature": 0, "max_tokens": 40, "stream": True}
        asked.append(body)
    async with ground.mesh(plan) as mesh, httpx.AsyncClient(timeout=None) as http:
        alone = [await ask(http, mesh.url, body) for body in asked[:4]]
        batch = await submit(mesh, LINES)
        together = await asyncio.gather(*(ask(http, mesh.url, body) for body in asked))
        lost = await missing(mesh, batch, LINES)
    errors: dict[str, int] = {}
    for said, before in itertools.zip_longest(together, alone):
        if why := _wrong(said, before):
            errors[why] = errors.get(why, 0) + 1
    refused = errors.get("server_overloaded", 0)
    failed = sum(errors.values()) - refused
    return Seen(
        failed=failed,
        answered=STREAMS - failed - refused,
        gap_s=max(said.gap_s() for said in together),
        errors=errors,
        wrong=(lost,) if lost else (),
        note=f"{refused} refused with 503, a batch of {LINES} lines answered",
    )


def _wrong(said: Said, before: Said | None) -> str:
    if said.error:
        return said.error
    return "" if before is None or said.parts == before.parts else "wrong"


@fault("a worker over its memory limit, and killed by the kernel for it", Bars(gap_s=8), quick=True)
async def limited(ground: Ground) -> Seen:
    """Its streams go on elsewhere, a batch that was accepted is answered, and it comes back."""
    if (group := _group()) is None:
        return Seen(failed=0, answered=0, note="not run: it needs a memory cgroup that can be written")
    with _grouped(group):
        plan = Plan(wrapped={"worker0": (*_JOIN, str(group))})
        async with ground.mesh(plan) as mesh, under_load(mesh, ground.clients) as load:
            batch = await submit(mesh, LINES)
            worker, before = mesh.parts["worker0"], len(mesh.parts["gateway0"].said)
            _limit(group)
            stuffing = asyncio.create_task(_stuff(mesh))
            detected = await mesh.parts["gateway0"].says(_UNREACHABLE, 40, before)
            stuffing.cancel()
            status = None if detected is None else await worker.ended()
            _limit(group, lifted=True)
            if status is not None:
                worker.start()
            await mesh.complete()
            lost = await missing(mesh, batch, LINES)
        wrong = (*([lost] if lost else ()), *(() if status == -9 else (f"it ended with {status}",)))
        return seen(load, note=f"killed after {detected or 0:.1f} s of large requests", wrong=wrong)


async def _stuff(mesh: RunningMesh) -> None:
    """Send requests that take memory until they are refused, as far too long."""
    body = {"model": MODEL, "prompt": "x" * (4 * 2**20), "max_tokens": 1}

    async def one_after_another(http: httpx.AsyncClient) -> None:
        while True:
            with suppress(httpx.TransportError):
                await http.post(f"{mesh.url}/v1/completions", json=body)

    async with httpx.AsyncClient(timeout=30) as http, asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(one_after_another(http))


def _group() -> Path | None:
    """A folder for a control group of memory; None: there are none, or not for us."""
    for root in _GROUPS:
        limits = (root / "memory.limit_in_bytes").exists() or (root / "memory.max").exists()
        known = root / "cgroup.controllers"
        if os.access(root, os.W_OK) and (limits or (known.exists() and "memory" in known.read_text())):
            return root / f"inferloom-faults-{os.getpid()}"
    return None


@contextmanager
def _grouped(group: Path) -> Iterator[None]:
    group.mkdir()
    try:
        yield
    finally:
        with suppress(OSError):  # it goes when its last process is gone
            group.rmdir()


def _limit(group: Path, *, lifted: bool = False) -> None:
    """Let its processes take little more than they have."""
    first = (group / "memory.limit_in_bytes").exists()
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if first else ("memory.max", "memory.current")
    limit, usage = (group / name for name in names)
    most = int(usage.read_text()) + SPARE_BYTES
    limit.write_text(("-1" if first else "max") if lifted else str(most))
