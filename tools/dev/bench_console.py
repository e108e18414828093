"""What does it cost a gateway that somebody watches the console? Processor time, in ms a second.

Usage: python tools/dev/bench_console.py [--workers 4] [--seconds 10] [--rounds 3]

Runs `inferloom up` with the echo engine. Each round measures the gateway's process without a viewer, with one
and with all that it takes, idle and while eight streams run; the cost is the difference to no viewer, the
median of the rounds with the least and the most.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from inferloom_gateway.console.live import MOST_VIEWERS

START_LIMIT_S = 240
STREAMS = 8
BODY = {
    "model": "chat",
    "stream": True,
    "messages": [{"role": "user", "content": "words and more words " * 12}],
}
VIEWERS = (0, 1, MOST_VIEWERS)


async def read(client: httpx.AsyncClient, path: str) -> None:
    """Watch, until cancelled."""
    async with client.stream("GET", path) as answer:
        async for _ in answer.aiter_raw():
            pass


async def ask(client: httpx.AsyncClient) -> None:
    """Ask again and again, until cancelled."""
    while True:
        async with client.stream("POST", "/v1/chat/completions", json=BODY) as answer:
            async for _ in answer.aiter_raw():
                pass


async def cost(url: str, gateway: psutil.Process, viewers: int, seconds: float) -> float:
    """Milliseconds of processor time that the gateway takes in a second."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=None))
        tasks = [asyncio.create_task(read(client, "/console/data/live")) for _ in range(viewers)]
        await asyncio.sleep(2)
        before, began = sum(gateway.cpu_times()[:2]), time.monotonic()
        await asyncio.sleep(seconds)
        spent = (sum(gateway.cpu_times()[:2]) - before) / (time.monotonic() - began)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return spent * 1e3


async def measure(url: str, gateway: psutil.Process, rounds: int, seconds: float) -> None:
    """Measure in alternating rounds, and print a table."""
    table = Table("load", "viewers", "gateway, ms/s", "cost, ms/s", "least", "most")
    for load in ("idle", f"{STREAMS} streams"):
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            tasks = [asyncio.create_task(ask(client)) for _ in range(0 if load == "idle" else STREAMS)]
            found: dict[int, list[float]] = {viewers: [] for viewers in VIEWERS}
            for _ in range(rounds):
                for viewers in VIEWERS:
                    found[viewers].append(await cost(url, gateway, viewers, seconds))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for viewers in VIEWERS:
            more = [with_them - without for with_them, without in zip(found[viewers], found[0], strict=True)]
            values = (statistics.median(found[viewers]), statistics.median(more), min(more), max(more))
            table.add_row(load, str(viewers), *(f"{value:.1f}" for value in values))
    Console().print(table)


def main() -> None:
    """Run a mesh, and measure its gateway."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with TemporaryDirectory() as name:
        ready = Path(name) / "ready.json"
        ports = ("--port", "0", "--grpc-port", "0", "--registry-port", "0", "--worker-port", "0")
        models = ("--workers", str(given.workers), "--model", "chat=echo:delay_ms=20")
        command = [sys.executable, "-m", "inferloom_cli", "up", *ports, *models, "--ready-file", str(ready)]
        output = subprocess.DEVNULL
        up = psutil.Popen(command, cwd=name, stdin=output, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + START_LIMIT_S
            while not ready.exists():
                if time.monotonic() > deadline or up.poll() is not None:
                    raise SystemExit("the mesh did not start")
                time.sleep(0.1)
            gateway = next(each for each in up.children(recursive=True) if each.cmdline()[3:4] == ["gateway"])
            url = f"http://{json.loads(ready.read_text())['rest']}"
            asyncio.run(measure(url, gateway, given.rounds, given.seconds))
        finally:
            up.terminate()
            up.wait(60)


if __name__ == "__main__":
    main()
