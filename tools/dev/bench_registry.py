"""How many workers and changes registries carry, and how late a watcher hears of a change.

Simulated workers hold leases over real gRPC, as real ones do: each has a stream and renews every TTL / 3.
Some of their renewals change what lasts (the capacity), --changes a second over all of them. Each registry
has a watcher; each change is timed from before it is sent until every watcher was told of it. Registries are
processes of their own, and so are etcd's members; the workers and the watchers are one more.

Usage: python tools/dev/bench_registry.py [--workers 1000] [--changes 500] [--registries 1] [--etcd 0]
       [--seconds 20] [--model-bytes 2000] [--json]

--etcd N puts N members of an etcd under the registries. A bar is missed if the p99 is over a second, a change
or a lease was lost, or fewer changes were sent than asked for; the status is 1 then.
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
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import psutil
from faulting.etcd import Cluster
from faulting.parts import Part, free_ports

from inferloom.v1 import inference_pb2
from inferloom.v1 import registry_pb2 as pb
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_mesh.channel import open_channel
from inferloom_mesh.net import Address

if TYPE_CHECKING:
    from inferloom.v1.registry_pb2_grpc import RegistryServiceAsyncStub

BAR_S = 1.0
LEAST_RATE = 0.98
"""Part of the changes that must have been sent for a verdict."""
CHANNEL_WORKERS = 50
"""Simulated workers that share a connection; real ones have one each."""
SETTLE_S = 3.0
PATIENCE_S = 10.0


@dataclass
class Told:
    """What was sent, and when each watcher told of it."""

    watchers: int
    sent: dict[tuple[str, int], float] = field(default_factory=dict)
    """By worker and capacity."""
    heard: Counter[tuple[str, int]] = field(default_factory=Counter)
    overtaken: int = 0
    """Changes of which a watcher was only told the next one of the same worker."""
    delays: list[float] = field(default_factory=list)

    def hear(self, worker_id: str, capacity: int, seen: dict[str, int]) -> None:
        """A watcher, which had ``seen`` some capacity of each worker, was told of another."""
        now, before = time.perf_counter(), seen.get(worker_id, 1)
        seen[worker_id] = capacity
        for number in range(before + 1, capacity + 1):
            if (began := self.sent.get((worker_id, number))) is not None:
                self.delays.append(now - began)
                self.heard[worker_id, number] += 1
                self.overtaken += number < capacity

    def missing(self) -> int:
        """Changes that some watcher was not told of."""
        return sum(self.heard[each] < self.watchers for each in self.sent)


class Worker:
    """A simulated worker: a lease on one registry."""

    def __init__(self, number: int, stub: "RegistryServiceAsyncStub", told: Told, model_bytes: int) -> None:
        self._stub = stub
        self._told = told
        self._capacity = 1
        self._news = asyncio.Event()
        self._due = 0
        self.lost = 0
        self.refused = 0
        """Streams that the registry ended, after which the worker went on with another."""
        card = inference_pb2.Model(id="m", root="x" * model_bytes)
        self._worker = pb.Worker(
            id=f"w{number:05d}",
            address=f"127.0.0.1:{10000 + number % 50000}",
            models=[card],
            state=pb.WORKER_STATE_READY,
            capacity=1,
        )

    def change(self) -> None:
        """Change something that lasts, now."""
        self._due += 1
        self._news.set()

    async def run(self, ready: asyncio.Semaphore) -> None:
        """Hold the lease until cancelled."""
        async with ready:
            granted = await self._stub.Register(pb.RegisterRequest(worker=self._worker), timeout=30)
        interval = granted.renew_interval.ToMilliseconds() / 1e3
        await asyncio.sleep(random.uniform(0, interval))
        while not self.lost:
            try:
                await self._renew(granted, interval)
            except grpc.aio.AioRpcError:
                self.refused += 1
                await asyncio.sleep(random.uniform(0.05, 0.1))

    async def _renew(self, granted: pb.RegisterResponse, interval: float) -> None:
        """Renew on one stream, until the lease is lost."""
        call: Any = self._stub.KeepAlive()
        told = 0
        try:
            while True:
                request = pb.KeepAliveRequest(lease_id=granted.lease_id, epoch=granted.epoch)
                request.load.running = random.randrange(8)
                if self._due:
                    self._due -= 1
                    self._capacity += 1
                    self._told.sent[self._worker.id, self._capacity] = time.perf_counter()
                if told != self._capacity:
                    request.capacity = told = self._capacity
                await call.write(request)
                answer = await call.read()
                if not isinstance(answer, pb.KeepAliveResponse) or answer.loss:
                    self.lost += 1
                    return
                if not self._due:
                    self._news.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(interval * random.uniform(0.8, 1.0)):
                            await self._news.wait()
        finally:
            call.cancel()


async def watch(stub: "RegistryServiceAsyncStub", told: Told, seen: dict[str, int]) -> None:
    """Follow a registry until cancelled."""
    async for response in stub.Watch(pb.WatchRequest()):
        match response.WhichOneof("change"):
            case "snapshot":
                for row in response.snapshot.workers:
                    told.hear(row.worker.id, row.worker.capacity, seen)
            case "put":
                told.hear(response.put.worker.id, response.put.worker.capacity, seen)


class Mesh:
    """Registries and etcd as processes."""

    def __init__(self, folder: Path, registries: int, etcd: int) -> None:
        self.etcd = Cluster(folder, etcd) if etcd else None
        self.addresses = [f"127.0.0.1:{port}" for port in free_ports(registries)]
        shared = ["--etcd", self.etcd.joined] if self.etcd else []
        command = [sys.executable, "-m", "inferloom_cli", "registry", *shared, "--metrics-listen", "none"]
        settings = {"INFERLOOM_MAX_WORKERS": "5000", "INFERLOOM_SETTLE_S": "0"}
        self.parts = [
            Part(f"registry{number}", [*command, "--listen", address], folder, settings)
            for number, address in enumerate(self.addresses)
        ]

    async def start(self) -> None:
        """Start them, and wait until they answer."""
        if self.etcd is not None:
            await asyncio.to_thread(self.etcd.start)
        for part in self.parts:
            part.start()
        for part in self.parts:
            if await part.says("registry listens", 60) is None:
                raise RuntimeError(f"{part.name} did not start: {part.said}")

    def measured(self) -> dict[str, psutil.Process]:
        """What is measured."""
        found = {part.name: part.measured() for part in self.parts}
        if self.etcd is not None:
            found |= {f"etcd{n}": psutil.Process(member.pid) for n, member in enumerate(self.etcd.members)}
        return found

    async def stop(self) -> None:
        """End them."""
        for part in self.parts:
            if part.process is not None:
                await part.killed()
        if self.etcd is not None:
            self.etcd.stop()


async def drive(workers: Sequence[Worker], changes: float, seconds: float) -> None:
    """Have workers change, so many a second, evenly."""
    began, sent = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        while sent < passed * changes:
            workers[sent % len(workers)].change()
            sent += 1
        await asyncio.sleep(0.005)


async def measure(given: argparse.Namespace, mesh: Mesh) -> dict[str, Any]:
    """Run the load on a mesh that stands."""
    told = Told(watchers=given.registries)
    channels = [
        open_channel(Address.parse(mesh.addresses[number % given.registries]))
        for number in range(max(given.registries, given.workers // CHANNEL_WORKERS))
    ]
    stubs: list[RegistryServiceAsyncStub] = [RegistryServiceStub(channel) for channel in channels]
    workers = [
        Worker(number, stubs[number % len(stubs)], told, given.model_bytes) for number in range(given.workers)
    ]
    ready = asyncio.Semaphore(64)
    began = time.perf_counter()
    running = [asyncio.create_task(worker.run(ready)) for worker in workers]
    watched: list[dict[str, int]] = [{} for _ in range(given.registries)]
    watching = [
        asyncio.create_task(watch(stubs[number], told, watched[number])) for number in range(given.registries)
    ]
    try:
        while any(len(seen) < given.workers for seen in watched):
            for task in (*running, *watching):
                if task.done():
                    task.result()
            await asyncio.sleep(0.05)
        joined_s = time.perf_counter() - began
        await asyncio.sleep(SETTLE_S)
        processes = mesh.measured()
        me = psutil.Process()
        before = {name: sum(each.cpu_times()[:2]) for name, each in (processes | {"bench": me}).items()}
        began = time.perf_counter()
        await drive(workers, given.changes, given.seconds)
        passed = time.perf_counter() - began
        cpu = {
            name: (sum(each.cpu_times()[:2]) - before[name]) / passed
            for name, each in (processes | {"bench": me}).items()
        }
        for _ in range(round(PATIENCE_S / 0.05)):
            if not told.missing():
                break
            await asyncio.sleep(0.05)
        memory = {name: each.memory_info().rss / 2**20 for name, each in processes.items()}
    finally:
        for task in (*running, *watching):
            task.cancel()
        await asyncio.gather(*running, *watching, return_exceptions=True)
        for channel in channels:
            await channel.close()
    delays = sorted(told.delays)
    return {
        "workers": given.workers,
        "registries": given.registries,
        "etcd": given.etcd,
        "joined_s": round(joined_s, 2),
        "changes": len(told.sent),
        "changes_per_s": round(len(told.sent) / passed, 1),
        "missed": told.missing(),
        "overtaken": told.overtaken,
        "refused": sum(worker.refused for worker in workers),
        "leases_lost": sum(worker.lost for worker in workers),
        **{name: round(at(delays, part) * 1e3, 1) for name, part in QUANTILES.items()},
        "cpu": {name: round(share, 3) for name, share in cpu.items()},
        "memory_mib": {name: round(mib, 1) for name, mib in memory.items()},
    }


QUANTILES = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "max_ms": 1.0}


def at(ordered: Sequence[float], part: float) -> float:
    """A quantile of what is in order; nan where there is nothing."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")


def main() -> int:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--changes", type=float, default=500, help="a second")
    parser.add_argument("--registries", type=int, default=1)
    parser.add_argument("--etcd", type=int, default=0, help="members of an etcd; 0: registries have none")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--model-bytes", type=int, default=2000, help="of each worker's only card")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.registries > 1 and not given.etcd:
        parser.error("several registries need --etcd")

    async def run() -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="bench-registry-") as folder:
            mesh = Mesh(Path(folder), given.registries, given.etcd)
            try:
                await mesh.start()
                return await measure(given, mesh)
            finally:
                await mesh.stop()

    found = asyncio.run(run())
    missed = below(found, given.changes)
    if given.json:
        print(json.dumps({**found, "below": missed}))
    else:
        print("\n".join(f"{name:14} {value}" for name, value in found.items()))
        print("MISSED: " + "; ".join(missed) if missed else "met")
    return 1 if missed else 0


def below(found: dict[str, Any], changes: float) -> list[str]:
    """The bars that were missed."""
    missed = []
    if not found["p99_ms"] <= BAR_S * 1e3:
        missed.append(f"a watcher hears within {found['p99_ms']:.0f} ms (p99), {BAR_S * 1e3:.0f} at most")
    if found["missed"] or found["leases_lost"]:
        missed.append(f"{found['missed']} changes and {found['leases_lost']} leases lost")
    if found["changes_per_s"] < LEAST_RATE * changes:
        missed.append(f"{found['changes_per_s']:.0f} changes a second were sent, {changes:.0f} asked for")
    return missed


if __name__ == "__main__":
    sys.exit(main())
