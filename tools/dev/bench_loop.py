"""Measure how late a gateway's and a worker's event loops run what is due, under loads that could hold them.

Usage: python tools/dev/bench_loop.py [--tokens 64] [--log FILE]

It starts a mesh of its own with the demo models, on free ports, and puts each load on it beside 32 streams.
A delay is time in which no request of that process moved. Where clients and services share the cores, waiting
for a core is part of it: the row of streams alone says how much.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import orjson
from peers.own import mesh
from peers.weights import CHAT_MODEL, EMBEDDING_MODEL

from inferloom.v1.worker_pb2 import GetStatusRequest
from inferloom.v1.worker_pb2_grpc import WorkerServiceStub
from inferloom_cli.bench import measure, run_fast, warm_up
from inferloom_cli.benchmark.endpoint import Endpoint
from inferloom_cli.benchmark.listing import get
from inferloom_cli.benchmark.load import Load
from inferloom_cli.benchmark.prompts import passage, words
from inferloom_mesh.channel import open_channel
from inferloom_mesh.lateness import BOUNDS_MS, Lateness

if TYPE_CHECKING:
    from inferloom.v1.worker_pb2_grpc import WorkerServiceAsyncStub

STREAMS = Load(CHAT_MODEL, clients=32, requests=64, ignore_eos=True)


@dataclass(frozen=True, slots=True)
class Conversations(Load):
    """Conversations of a thousand turns, which a template goes through one by one."""

    def body(self, number: int) -> dict[str, object]:
        """See the base."""
        roles = ("user", "assistant")
        turns = [{"role": roles[n % 2], "content": f"{number} {n}"} for n in range(1001)]
        return {**Load.body(self, number), "messages": turns}


@dataclass(frozen=True, slots=True)
class Alternatives(Load):
    """Streams that report twenty alternatives for every token."""

    def body(self, number: int) -> dict[str, object]:
        """See the base."""
        return {**Load.body(self, number), "logprobs": True, "top_logprobs": 20}


@dataclass(frozen=True, slots=True)
class Lists(Load):
    """Long lists of texts to embed."""

    def body(self, number: int) -> dict[str, object]:
        """See the base."""
        return {"model": self.model, "input": [passage(number * 2048 + at) for at in range(2048)]}


@dataclass(frozen=True, slots=True)
class TooLong(Load):
    """Texts of three megabytes, which are refused."""

    def body(self, number: int) -> dict[str, object]:
        """See the base."""
        return {**Load.body(self, number), "messages": [{"role": "user", "content": words(500_000, number)}]}


LOADS: dict[str, Sequence[Load]] = {
    "32 streams": (),
    "+ embeddings, 4 × 32": (Load(EMBEDDING_MODEL, api="embeddings", clients=4, batch=32, requests=60),),
    "+ embeddings, 2048 at once": (Lists(EMBEDDING_MODEL, api="embeddings", requests=3),),
    "+ prompts of 4,000 tokens": (Load(CHAT_MODEL, clients=2, requests=4, tokens=4, prompt_tokens=4000),),
    "+ conversations of 1,001 turns": (Conversations(CHAT_MODEL, clients=2, requests=4, tokens=4),),
    "+ 20 alternatives for each token": (
        Alternatives(CHAT_MODEL, clients=16, requests=16, tokens=32, ignore_eos=True),
    ),
    "+ prompts of 3 MB, refused": (TooLong(CHAT_MODEL, clients=2, requests=4),),
}


@dataclass(slots=True)
class Meter:
    """What two loops measured since it was last read."""

    endpoint: Endpoint
    worker: "WorkerServiceAsyncStub"
    before: dict[str, list[int]] = field(default_factory=dict)

    async def read(self) -> dict[str, Lateness]:
        """The delays since the last reading, by process."""
        live = orjson.loads(await get(self.endpoint, "health/live"))["event_loop"]
        status = await self.worker.GetStatus(GetStatusRequest())
        counts = {
            "gateway": [bucket["count"] for bucket in live["buckets"]],
            "worker": [bucket.count for bucket in status.event_loop.buckets],
        }
        found = {}
        for name, now in counts.items():
            then = self.before.get(name, [0] * len(now))
            found[name] = Lateness([a - b for a, b in zip(now, then, strict=True)], worst_s=float("inf"))
        self.before = counts
        return found


@asynccontextmanager
async def metering(rest: str, worker: str) -> AsyncIterator[Meter]:
    """A meter of a gateway and a worker."""
    async with open_channel(worker) as channel:
        meter = Meter(Endpoint.parse(f"http://{rest}"), WorkerServiceStub(channel))
        await meter.read()
        yield meter


async def run(rest: str, worker: str, tokens: int) -> None:
    """Put each load on the mesh, and print a row for it."""
    endpoint = Endpoint.parse(f"http://{rest}/v1")
    streams = replace(STREAMS, tokens=tokens)
    await warm_up(endpoint, streams)
    print(f"{'load':34}  {'gateway p99':>11}  {'worst':>7}  {'worker p99':>10}  {'worst':>7}")
    async with metering(rest, worker) as meter:
        for number, (name, beside) in enumerate(LOADS.items()):
            loads = [replace(load, first=1000 * number) for load in (streams, *beside)]
            await asyncio.gather(*(measure(endpoint, load) for load in loads))
            delays = await meter.read()
            cells = [
                f"{_at_most(delays[process], share):>{width}}"
                for process, first in (("gateway", 11), ("worker", 10))
                for share, width in ((0.99, first), (1.0, 7))
            ]
            print(f"{name:34}  {'  '.join(cells)}")


def _at_most(lateness: Lateness, share: float) -> str:
    bound = lateness.quantile_ms(share)
    return f"≤ {bound:g} ms" if bound in BOUNDS_MS else f"> {BOUNDS_MS[-1]:g} ms"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=64, help="output tokens of each stream")
    parser.add_argument("--log", type=Path, help="where to keep what the mesh says")
    flags = parser.parse_args()
    with TemporaryDirectory() as folder, mesh(flags.log or Path(folder) / "mesh.log") as (report, _):
        run_fast(lambda: run(report["rest"], report["workers"][0]["address"], flags.tokens))


if __name__ == "__main__":
    main()
