"""Files that are not what they should be: a worker says so in one line and ends."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from faulting.mesh import Plan
from faulting.parts import Part, free_ports
from faulting.suite import Bars, Ground, Seen, fault
from inferloom_worker.sourcing import demo

MODEL = "smollm2-135m-instruct"


@fault("weights truncated: the worker ends, and says why", Bars(), quick=True)
async def truncated(ground: Ground) -> Seen:
    def damage(path: Path) -> None:
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)

    return await _refused(ground, damage)


@fault("weights of another format: the worker ends, and says why", Bars())
async def another_format(ground: Ground) -> Seen:
    def damage(path: Path) -> None:
        with path.open("r+b") as file:
            file.write(b"\0" * 64)

    return await _refused(ground, damage)


async def _refused(ground: Ground, damage: Callable[[Path], None]) -> Seen:
    """Start a worker on a damaged file beside a mesh that has another model, which goes on."""
    damaged = ground.folder / "damaged.gguf"
    shutil.copy(await asyncio.to_thread(demo.fetch, MODEL), damaged)
    damage(damaged)
    async with ground.mesh(Plan(workers=1)) as mesh:
        (port,) = free_ports(1)
        options = ["--listen", f"127.0.0.1:{port}", "--id", "damaged", "--registry", mesh.registries[0]]
        command = [str(ground.python), "-m", "inferloom_cli", "worker", *options]
        part = Part(
            "damaged", [*command, "--model", f"{MODEL}={damaged}", "--metrics-listen", "none"], mesh.folder
        )
        part.start()
        began = asyncio.get_running_loop().time()
        status = await part.ended()
        took = asyncio.get_running_loop().time() - began
    said = [line for line in part.said.splitlines() if "damaged.gguf" in line and "INFO" not in line]
    wrong = []
    if status == 0:
        wrong.append("it ended as if all were well")
    if not said:
        wrong.append("it did not name the file")
    if "Traceback" in part.said:
        wrong.append("it showed a traceback")
    return Seen(
        failed=0, answered=1, detected_s=took, wrong=tuple(wrong), note=said[-1][:150] if said else ""
    )
