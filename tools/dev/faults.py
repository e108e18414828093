"""What the faults of each part cost: kill, hang and restart under streams and calls without one.

A mesh of real processes (a registry, three workers that repeat their prompt, a gateway) is under load by
clients that ask all the time. One part at a time is killed (SIGKILL, and started again after 3 s), hung
(SIGSTOP; the gateway for 5 s, others until the load is over) or restarted (SIGTERM, and started when it has
ended).

Usage: python tools/dev/faults.py [--source FOLDER] [--clients N] [PART:KIND ...]

--source FOLDER runs the project in another folder, which has its own .venv: an older state, to compare with.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from faulting.load import Load, Tally
from faulting.parts import Part, RunningMesh

PARTS = {"worker": "worker0", "registry": "registry", "gateway": "gateway"}
KINDS = ("kill", "hang", "restart")

BEFORE_S = 3.0
AFTER_S = 12.0
DOWN_S = 3.0
GATEWAY_HANG_S = 5.0


@dataclass(frozen=True)
class Result:
    """What one fault cost."""

    part: str
    kind: str
    streams: Tally
    calls: Tally


async def inflict(python: Path, part: str, kind: str, clients: int) -> Result:
    """Run a mesh under load, inflict one fault, and say what it cost."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        async with RunningMesh(python, Path(folder)) as mesh:
            load = Load(mesh.url, clients)
            running = asyncio.create_task(load.run())
            await asyncio.sleep(BEFORE_S)
            victim = mesh.parts[PARTS[part]]
            acting = asyncio.create_task(
                _act(victim, kind, hang_s=GATEWAY_HANG_S if part == "gateway" else None)
            )
            await asyncio.sleep(AFTER_S)
            load.end()
            await running
            acting.cancel()
    return Result(part, kind, load.streams, load.calls)


async def _act(part: Part, kind: str, hang_s: float | None) -> None:
    match kind:
        case "kill":
            part.signal(signal.SIGKILL)
            await part.ended()
            await asyncio.sleep(DOWN_S)
            part.start()
        case "hang":
            part.signal(signal.SIGSTOP)
            if hang_s is not None:
                await asyncio.sleep(hang_s)
                part.signal(signal.SIGCONT)
        case _:
            part.signal(signal.SIGTERM)
            await part.ended()
            part.start()


HEAD = (
    "| fault | streams ok | lost before text | lost midway | longest silence s "
    "| calls ok | lost | longest wait s | errors |\n|---|---|---|---|---|---|---|---|---|"
)


def row(result: Result) -> str:
    """One line of the table."""
    streams, calls = result.streams, result.calls
    errors = ", ".join(f"{count} x {why}" for why, count in (streams.errors | calls.errors).items())
    cells = (
        f"{result.part} {result.kind}",
        *(streams.answered, streams.lost_before, streams.lost_midway, f"{streams.silence_s:.1f}"),
        *(calls.answered, calls.lost_before + calls.lost_midway, f"{calls.silence_s:.1f}", errors),
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the faults that are named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faults", nargs="*", default=[f"{part}:{kind}" for part in PARTS for kind in KINDS])
    parser.add_argument("--source", type=Path, help="another folder with the project and its .venv")
    parser.add_argument("--clients", type=int, default=8, help="clients of each of the two sorts")
    parser.add_argument("--json", action="store_true", help="print JSON lines instead of a table")
    given = parser.parse_args(arguments)
    python = Path(sys.executable) if given.source is None else given.source.resolve() / ".venv/bin/python"
    if not given.json:
        print(HEAD, flush=True)
    for fault in given.faults:
        part, _, kind = fault.partition(":")
        if part not in PARTS or kind not in KINDS:
            parser.error(f"{fault!r} is no fault; parts are {', '.join(PARTS)}, kinds {', '.join(KINDS)}")
        result = asyncio.run(inflict(python, part, kind, given.clients))
        print(json.dumps(asdict(result)) if given.json else row(result), flush=True)


if __name__ == "__main__":
    main()
