"""Put a mixed load on a mesh for a while, and see whether it holds more afterwards than before.

Usage: python tools/dev/soak.py [--minutes 10] [--clients 8] [--seed 1]

It starts a mesh of its own with the demo models, on free ports. The load is bounded: each client waits for
its answer. The first quarter of the time warms up; the baseline is taken after it, with nothing running, and
is compared with what is held at the end, with nothing running. Exit status 1: something leaked, or an answer
was wrong.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
from peers.own import mesh
from peers.process import end_well
from peers.weights import CHAT_MODEL, EMBEDDING_MODEL
from rich.console import Console
from soaking.sample import Sample, services, take
from soaking.traffic import Traffic
from soaking.verdict import leaks, table, worst

from inferloom_cli.bench import run_fast
from inferloom_cli.benchmark.endpoint import Endpoint

WARM_UP_SHARE = 0.25
KV_CACHE_MIB = "192"
"""So little that the warm-up fills it: what was used once stays resident, which is growth but no leak."""

SAMPLE_EVERY_S = 5.0
SETTLE_LIMIT_S = 60.0
"""How long requests that were given up may take to let go of what they hold."""

_POLL_S = 0.2
_CLOSING_S = 1.0
"""For connections that were just closed."""


class Soak:
    """A mesh under load."""

    def __init__(self, url: str, supervisor: int, workers: list[str], clients: int, seed: int) -> None:
        self._processes: dict[str, psutil.Process] = services(supervisor)
        self._workers = workers
        endpoint = Endpoint.parse(url)
        self._traffic = [
            Traffic(endpoint, CHAT_MODEL, EMBEDDING_MODEL, seed * 1000 + n) for n in range(clients)
        ]

    async def load(self, seconds: float) -> Sample:
        """Run the load for that long; return the most that was held."""
        over = asyncio.Event()
        running = asyncio.gather(*(client.run(over) for client in self._traffic))
        try:
            most = await self.sample()
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                await asyncio.sleep(min(SAMPLE_EVERY_S, left))
                most = worst(most, await self.sample())
        finally:
            over.set()
            await running
        return most

    async def settled(self) -> Sample:
        """What is held once nothing runs, or after a limit."""
        deadline = time.monotonic() + SETTLE_LIMIT_S
        while (await self.sample()).slots_in_use and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)  # what is waited for is in other processes
        await asyncio.sleep(_CLOSING_S)
        return await self.sample()

    async def sample(self) -> Sample:
        """What is held now."""
        return await take(self._processes, self._workers)

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """Requests by kind, and wrong answers."""
        sent, wrong = Counter[str](), Counter[str]()
        for client in self._traffic:
            sent += client.counts
            wrong += client.wrong
        return sent, wrong


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    end_well()

    async def soak(one: Soak) -> tuple[Sample, Sample, Sample]:
        seconds = args.minutes * 60
        await one.load(seconds * WARM_UP_SHARE)
        before = await one.settled()
        most = await one.load(seconds * (1 - WARM_UP_SHARE))
        return before, most, await one.settled()

    models = (flag for model in (CHAT_MODEL, EMBEDDING_MODEL) for flag in ("--model", model))
    with (
        tempfile.TemporaryDirectory() as folder,
        mesh(Path(folder) / "mesh.log", *models, INFERLOOM_KV_CACHE_MIB=KV_CACHE_MIB) as (report, _),
    ):
        workers = [str(worker["address"]) for worker in report["workers"]]
        one = Soak(f"http://{report['rest']}/v1", int(report["pid"]), workers, args.clients, args.seed)
        before, most, after = run_fast(lambda: soak(one))
    sent, wrong = one.counts()
    console = Console(highlight=False)
    console.print(table(before, most, after))
    console.print(", ".join(f"{count} × {kind}" for kind, count in sent.most_common()))
    faults = [*leaks(before, after), *(f"{count} × {what}" for what, count in wrong.items())]
    for fault in faults:
        console.print(f"[red]{fault}[/]", markup=True)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
