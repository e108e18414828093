"""What a mesh answers when three times as much is asked of it as it can do.

Workers that repeat their prompt (`echo:delay_ms`) behind one gateway, all real processes. Requests come at
random moments (open loop: whoever comes does not wait for others), first few of them, then at a multiple of
the capacity, which is slots ÷ service time. The bars: goodput at least 0.9 of the capacity; the 99th
percentile of the admitted at most twice its unloaded value plus the queues' bounds; that of refusals at most
50 ms.

Usage: python tools/dev/bench_overload.py [--seconds N] [--factor N] [--workers N] [--slots N] [--json]
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
import psutil
from faulting.mesh import Plan, RunningMesh
from faulting.parts import MODEL

LEAST_GOODPUT = 0.9
MOST_REFUSAL_S = 0.05
MOST_BUSY = 0.6

UNLOADED_S = 10.0
UNLOADED_PART = 0.3
"""Part of the capacity that is asked for without overload."""


@dataclass
class Phase:
    """What came of the requests of one phase. Times in seconds."""

    asked: int = 0
    admitted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    advised: Counter[str] = field(default_factory=Counter)
    """What Retry-After said, and how often."""
    failed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """What is printed."""

    capacity: float
    """Requests a second."""
    factor: float
    seconds: float
    asked: int
    goodput: float
    """Answers a second, in relation to the capacity."""
    unloaded_p99_s: float
    admitted_p50_s: float
    admitted_p99_s: float
    bound_s: float
    """What the queues may add."""
    refused: int
    refused_p99_s: float
    refused_late: float
    """Part of the refusals that took over 50 ms."""
    retry_after: dict[str, int]
    failed: dict[str, int]
    busy: float
    """The machine's processors, all of them together."""

    def missed(self) -> list[str]:
        """The bars that were missed."""
        found = []
        if self.goodput < LEAST_GOODPUT:
            found.append(f"goodput {self.goodput:.2f} of the capacity, {LEAST_GOODPUT} at least")
        most = 2 * self.unloaded_p99_s + self.bound_s
        if self.admitted_p99_s > most:
            found.append(f"p99 of the admitted {self.admitted_p99_s:.2f} s, {most:.2f} at most")
        if self.refused_p99_s > MOST_REFUSAL_S:
            found.append(f"p99 of a refusal {1e3 * self.refused_p99_s:.0f} ms, 50 at most")
        if self.failed:
            found.append(f"failed: {self.failed}")
        if self.busy > MOST_BUSY:
            found.append(f"the machine was {self.busy:.0%} busy, {MOST_BUSY:.0%} at most")
        return found


async def phase(http: httpx.AsyncClient, url: str, rate: float, seconds: float, tokens: int) -> Phase:
    """Ask at ``rate`` requests a second, and wait for all that was begun."""
    found, chance = Phase(), random.Random(int(rate))
    began = time.monotonic()
    moment, number = began, 0
    async with asyncio.TaskGroup() as tasks:
        while (moment := moment + chance.expovariate(rate)) < began + seconds:
            await asyncio.sleep(max(0.0, moment - time.monotonic()))
            number += 1
            tasks.create_task(_ask(http, url, found, number, tokens))
    found.seconds = seconds
    return found


async def _ask(http: httpx.AsyncClient, url: str, found: Phase, number: int, tokens: int) -> None:
    found.asked += 1
    prompt = f"{number} of a crowd " * tokens
    body = {"model": MODEL, "prompt": prompt, "max_tokens": tokens}
    began = time.monotonic()
    try:
        answer = await http.post(f"{url}/v1/completions", json=body)
    except httpx.TransportError as failure:
        found.failed[type(failure).__name__] += 1
        return
    took = time.monotonic() - began
    if answer.status_code == 200:
        found.admitted.append(took)
    elif answer.status_code == 503 and "retry-after" in answer.headers:
        found.refused.append(took)
        found.advised[answer.headers["retry-after"]] += 1
    else:
        found.failed[str(answer.status_code)] += 1


def quantile(values: Sequence[float], part: float) -> float:
    """A quantile; 0 of nothing."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] if values else 0.0


async def measure(folder: Path, given: argparse.Namespace) -> Report:
    """Run the mesh and both phases."""
    service_s = given.tokens * given.delay_ms / 1e3
    capacity = given.workers * given.slots / service_s
    settings = {
        "worker": {"INFERLOOM_MAX_RUNNING": str(given.slots), "INFERLOOM_MAX_WAIT_S": str(given.wait_s)},
        "gateway": {"INFERLOOM_GATEWAY_QUEUE_S": str(given.gateway_wait_s)},
    }
    plan = Plan(workers=given.workers, spec=f"echo:delay_ms={given.delay_ms}", settings=settings)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with (
        RunningMesh(Path(sys.executable), folder, plan) as mesh,
        httpx.AsyncClient(timeout=60, limits=limits) as http,
    ):
        unloaded = await phase(http, mesh.url, UNLOADED_PART * capacity, UNLOADED_S, given.tokens)
        psutil.cpu_percent()
        loaded = await phase(http, mesh.url, given.factor * capacity, given.seconds, given.tokens)
        busy = psutil.cpu_percent() / 100
    answered = sum(1 for took in loaded.admitted if took > 0)
    # What was admitted in the last moments is answered after them; it counts for as long as all took.
    seconds = loaded.seconds + quantile(loaded.admitted, 0.5)
    return Report(
        capacity=capacity,
        factor=given.factor,
        seconds=given.seconds,
        asked=loaded.asked,
        goodput=answered / seconds / capacity,
        unloaded_p99_s=quantile(unloaded.admitted, 0.99),
        admitted_p50_s=quantile(loaded.admitted, 0.5),
        admitted_p99_s=quantile(loaded.admitted, 0.99),
        bound_s=given.wait_s + given.gateway_wait_s,
        refused=len(loaded.refused),
        refused_p99_s=quantile(loaded.refused, 0.99),
        refused_late=sum(took > MOST_REFUSAL_S for took in loaded.refused) / max(1, len(loaded.refused)),
        retry_after=dict(loaded.advised),
        failed=dict(unloaded.failed + loaded.failed),
        busy=busy,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=300, help="how long the overload lasts")
    parser.add_argument("--factor", type=float, default=3, help="what is asked for, in capacities")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=8, help="of each worker")
    parser.add_argument("--delay-ms", type=float, default=100, help="between two tokens")
    parser.add_argument("--tokens", type=int, default=10, help="of an answer")
    parser.add_argument("--wait-s", type=float, default=2, help="the workers' max_wait_s")
    parser.add_argument("--gateway-wait-s", type=float, default=0.5, help="the gateway's gateway_queue_s")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the logs there")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="overload-") as folder:
        if given.keep is not None:
            given.keep.mkdir(parents=True, exist_ok=True)
        report = asyncio.run(measure(given.keep or Path(folder), given))
    missed = report.missed()
    if given.json:
        print(json.dumps({**asdict(report), "missed": missed}))
    else:
        for name, value in asdict(report).items():
            print(f"{name:16} {value:.3f}" if isinstance(value, float) else f"{name:16} {value}")
        verdict = "no verdict: " if report.busy > MOST_BUSY else "MISSED: "
        print(verdict + "; ".join(missed) if missed else "met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
