"""A mesh of real processes, any of which can be killed, hung and started again, and what is between them."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc
import httpx

from faulting.etcd import Cluster
from faulting.parts import MODEL, START_LIMIT_S, Part, free_ports
from faulting.proxy import Proxy
from inferloom.v1 import registry_pb2
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub

if TYPE_CHECKING:
    from inferloom.v1.registry_pb2_grpc import RegistryServiceAsyncStub


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a mesh is made of."""

    workers: int = 3
    gateways: int = 1
    registries: int = 1
    """Several need an etcd."""
    etcd: int = 0
    """Members of an etcd that keeps what registries have."""
    spec: str = "echo:delay_ms=20"
    """What the workers' model is, besides its name."""
    specs: Mapping[str, str] = field(default_factory=dict)
    """What it is at some workers instead, by their full names: worker2, say."""
    proxied: bool = False
    """Whether there is a proxy before each worker, and two before each registry: one for the workers, one for
    the gateways."""
    gateway_python: Path | None = None
    """Runs the gateways with another interpreter, of another version of the project; likewise the workers."""
    worker_python: Path | None = None
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Environment of parts, by their names without a number: registry, worker, gateway."""
    start_limit_s: float = START_LIMIT_S
    """How long all of it may take to be ready."""
    wrapped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What a part's command line is put behind, by its full name: worker0, say."""


class RunningMesh:
    """Registries, workers and gateways; they run inside the block.

    ``parts`` are ``registry``, ``registry1``…, ``worker0``… and ``gateway0``…; ``proxies`` are by the
    worker's name, and ``registry for workers`` and ``registry for gateways``, likewise of further registries.

    Args:
        python: The interpreter whose ``inferloom_cli`` is run.
        folder: Takes the logs and the store.
        plan: What is run.
    """

    def __init__(self, python: Path, folder: Path, plan: Plan | None = None) -> None:
        self.plan = plan = Plan() if plan is None else plan
        self.folder = folder
        self.parts: dict[str, Part] = {}
        self.proxies: dict[str, Proxy] = {}
        between = (2 * plan.registries + 2 * plan.workers) * plan.proxied
        ports = free_ports(plan.registries + 2 * plan.workers + 2 * plan.gateways + between)
        addresses = [f"127.0.0.1:{port}" for port in ports]
        self.etcd = Cluster(folder, plan.etcd) if plan.etcd else None
        shared = ["--etcd", self.etcd.joined] if self.etcd else []
        self.registries: list[str] = []
        ways: dict[str, list[str]] = {"workers": [], "gateways": []}
        for number in range(plan.registries):
            name, address = f"registry{number or ''}", addresses.pop()
            self.registries.append(address)
            for callers, way in ways.items():
                way.append(self._between(f"{name} for {callers}", address, addresses))
            self._add(name, ["registry", "--listen", address, *shared], python)
        for_workers, for_gateways = (",".join(way) for way in ways.values())
        for number in range(plan.workers):
            name, address = f"worker{number}", addresses.pop()
            own = {"INFERLOOM_WORKER_ADVERTISE": self._between(name, address, addresses)}
            own |= self._link(name, addresses)
            command = ["worker", "--listen", address, "--id", f"w{number}", "--registry", for_workers]
            command += ["--model", f"{MODEL}={plan.specs.get(name, plan.spec)}"]
            self._add(name, command, plan.worker_python or python, own)
        self.urls: list[str] = []
        self.grpc: list[str] = []
        for number in range(plan.gateways):
            rest, grpc = addresses.pop(), addresses.pop()
            self.urls.append(f"http://{rest}")
            self.grpc.append(grpc)
            command = ["gateway", "--listen", rest, "--grpc-listen", grpc, "--registry", for_gateways]
            store = {"INFERLOOM_STORE": str(folder / "store")}
            self._add(f"gateway{number}", command, plan.gateway_python or python, store)

    @property
    def url(self) -> str:
        """The first gateway's REST façade."""
        return self.urls[0]

    async def workers(self, number: int = 0) -> list[registry_pb2.RegisteredWorker]:
        """A registry's workers; none where it does not answer."""
        try:
            async with grpc.aio.insecure_channel(self.registries[number]) as channel:
                stub: RegistryServiceAsyncStub = RegistryServiceStub(channel)
                answer = await stub.ListWorkers(registry_pb2.ListWorkersRequest(), timeout=5)
        except grpc.aio.AioRpcError:
            return []
        return list(answer.workers)

    async def complete(self) -> None:
        """Wait until every worker has registered and every gateway answers.

        Raises:
            EndedError: One of them has ended.
            TimeoutError: They did not in time.
        """
        deadline = time.monotonic() + self.plan.start_limit_s
        async with httpx.AsyncClient(timeout=10) as http:
            while not await self._all_there(http):
                for part in self.parts.values():
                    part.check()
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the mesh did not become ready; see the logs in {self.folder}")
                await asyncio.sleep(0.2)

    async def __aenter__(self) -> Self:
        try:
            for proxy in self.proxies.values():
                await proxy.open()
            if self.etcd is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
                await asyncio.to_thread(self.etcd.start)
            for part in self.parts.values():
                part.start()
            await self.complete()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def _between(self, name: str, address: str, addresses: list[str]) -> str:
        """The address of a proxy before another, or that one itself."""
        if not self.plan.proxied:
            return address
        listens = addresses.pop()
        self.proxies[name] = Proxy(listens, address)
        return listens

    def _link(self, name: str, addresses: list[str]) -> dict[str, str]:
        """What tells a worker where its link's own port is, behind the proxy that is before the worker."""
        address = addresses.pop()
        own = {"INFERLOOM_WORKER_LINK_PORT": address.rpartition(":")[2]}
        if (proxy := self.proxies.get(name)) is not None:
            shown = addresses.pop()
            proxy.also(shown, address)
            own["INFERLOOM_WORKER_LINK_ADVERTISE"] = shown
        return own

    def _add(self, name: str, command: list[str], python: Path, own: Mapping[str, str] | None = None) -> None:
        shared = self.plan.settings.get(name.rstrip("0123456789"), {})
        env = {"INFERLOOM_LOG_FORMAT": "text", **(own or {}), **shared}
        whole = [*self.plan.wrapped.get(name, ()), str(python), "-m", "inferloom_cli", *command]
        self.parts[name] = Part(name, [*whole, "--metrics-listen", "none"], self.folder, env)

    async def _all_there(self, http: httpx.AsyncClient) -> bool:
        try:
            for url in self.urls:
                if (await http.get(f"{url}/health/ready")).status_code != 200:
                    return False
        except httpx.TransportError:
            return False
        for number in range(self.plan.registries):
            states = [each.worker.state for each in await self.workers(number)]
            if states.count(registry_pb2.WORKER_STATE_READY) < self.plan.workers:
                return False
        return True

    async def _stop(self) -> None:
        running = [part for part in self.parts.values() if part.process is not None]
        await asyncio.gather(*(part.killed() for part in running))
        if self.etcd is not None:
            self.etcd.stop()
        for proxy in self.proxies.values():
            await proxy.close()
