"""A mesh of real processes, any of which can be killed, hung and started again."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

START_LIMIT_S = 90.0
STOP_LIMIT_S = 40.0

MODEL = "m"


@dataclass
class Part:
    """One process of the mesh."""

    name: str
    command: list[str]
    folder: Path
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    def start(self) -> None:
        """Start it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("INFERLOOM_")}
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env=kept
            )

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    async def killed(self) -> None:
        """Kill it, and wait until it is gone."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        await self.ended()

    async def ended(self) -> None:
        """Wait until it has ended."""
        assert self.process is not None
        await asyncio.to_thread(self.process.wait, STOP_LIMIT_S)


class RunningMesh:
    """A registry, workers that repeat their prompt, and a gateway; they run inside the block.

    Args:
        python: The interpreter whose ``inferloom_cli`` is run.
        folder: Takes the logs.
        workers: How many workers.
        delay_ms: Time between two tokens.
    """

    def __init__(self, python: Path, folder: Path, *, workers: int = 3, delay_ms: int = 20) -> None:
        registry, rest, grpc, *others = (f"127.0.0.1:{port}" for port in free_ports(3 + workers))
        base = [str(python), "-m", "inferloom_cli"]
        self.url = f"http://{rest}"
        self.parts = {"registry": Part("registry", [*base, "registry", "--listen", registry], folder)}
        for number, address in enumerate(others):
            name = f"worker{number}"
            options = ["--listen", address, "--id", f"w{number}", "--registry", registry]
            spec = f"{MODEL}=echo:delay_ms={delay_ms}"
            self.parts[name] = Part(name, [*base, "worker", *options, "--model", spec], folder)
        options = ["--listen", rest, "--grpc-listen", grpc, "--registry", registry]
        self.parts["gateway"] = Part("gateway", [*base, "gateway", *options], folder)
        self._registry = registry
        self._python = python
        self._workers = workers

    async def __aenter__(self) -> Self:
        for part in self.parts.values():
            part.start()
        try:
            await self._ready()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        for part in self.parts.values():
            part.signal(signal.SIGCONT)
            part.signal(signal.SIGKILL)
        for part in self.parts.values():
            await part.ended()

    async def _ready(self) -> None:
        """Wait until every worker has registered and the gateway answers."""
        deadline = time.monotonic() + START_LIMIT_S
        async with httpx.AsyncClient(base_url=self.url, timeout=10) as http:
            while not await self._complete(http):
                if time.monotonic() > deadline:
                    raise TimeoutError("the mesh did not become ready; see the logs")
                await asyncio.sleep(0.3)

    async def _complete(self, http: httpx.AsyncClient) -> bool:
        command = [str(self._python), "-m", "inferloom_cli", "ps", "--json", "--registry", self._registry]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
        if done.stdout.count(b"WORKER_STATE_READY") < self._workers:
            return False
        try:
            return (await http.get("/health/ready")).status_code == 200
        except httpx.TransportError:
            return False


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
