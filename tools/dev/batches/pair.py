"""Two gateways that share a store, and a worker that counts what it is asked."""

import asyncio
import re
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from faulting.parts import START_LIMIT_S, Part, free_ports

MODEL = "m"
GATEWAYS = ("gateway0", "gateway1")

_CALLS = re.compile(r'^inferloom_calls_total\{[^}]*method="Generate"[^}]*\} ([0-9.e+]+)', re.MULTILINE)


class Pair:
    """The processes; they run inside the block.

    Args:
        folder: Takes the logs and the store.
        delay_ms: Time between two tokens of the worker.
        lease_s: How long a gateway may be silent before the other has its lines.
    """

    def __init__(self, folder: Path, *, delay_ms: int, lease_s: float) -> None:
        registry, worker, metrics, *doors = (f"127.0.0.1:{port}" for port in free_ports(7))
        (folder / "inferloom.toml").write_text(f'batch_lease_s = {lease_s}\nlog_level = "warning"\n')
        base = [sys.executable, "-m", "inferloom_cli"]
        joined = ["--registry", registry]
        model = ["--model", f"{MODEL}=echo:delay_ms={delay_ms}"]
        where = ["--listen", worker, "--metrics-listen", metrics]
        self.parts = {
            "registry": Part("registry", [*base, "registry", "--listen", registry], folder),
            "worker": Part("worker", [*base, "worker", *where, *joined, *model], folder),
        }
        for number, name in enumerate(GATEWAYS):
            rest, grpc = doors[2 * number : 2 * number + 2]
            options = ["--listen", rest, "--grpc-listen", grpc, "--store", str(folder / "store"), *joined]
            command = [*base, "gateway", *options, "--metrics-listen", "none"]
            self.parts[name] = Part(name, command, folder)
        self.urls = {name: f"http://{doors[2 * n]}" for n, name in enumerate(GATEWAYS)}
        self._metrics = f"http://{metrics}/metrics"
        self._http = httpx.AsyncClient(timeout=60)

    async def computed(self) -> int:
        """How many generations the worker has been asked for."""
        text = (await self._http.get(self._metrics)).text
        return round(sum(float(number) for number in _CALLS.findall(text)))

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask any gateway that answers."""
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            for url in self.urls.values():
                try:
                    return (await self._http.request(method, url + path, **more)).raise_for_status()
                except httpx.TransportError:
                    continue
            if time.monotonic() > deadline:
                raise TimeoutError("no gateway answers; see the logs")
            await asyncio.sleep(0.2)

    async def __aenter__(self) -> Self:
        for part in self.parts.values():
            part.start()
        try:
            async with asyncio.timeout(START_LIMIT_S):
                while not all(  # noqa: ASYNC110 # a process tells nobody
                    [await self._ready(url) for url in self.urls.values()]
                ):
                    await asyncio.sleep(0.2)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _ready(self, url: str) -> bool:
        try:
            return (await self._http.get(f"{url}/health/ready")).is_success
        except httpx.TransportError:
            return False

    async def _stop(self) -> None:
        for part in self.parts.values():
            await part.killed()
        await self._http.aclose()
